"""Orders over the lifeline, and its end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any

import pytest

from services.lifeline import follow, obey_waiting


async def test_orders_are_obeyed_nonsense_is_passed_over_and_the_end_is_noticed() -> None:
    ours, theirs = socket.socketpair()
    orders: list[Mapping[str, Any]] = []
    gone = asyncio.Event()
    following = asyncio.ensure_future(follow(theirs, orders.append, gone.set))
    lines = [b'{"do": "drain"}', b"nonsense", b"[1]", b"\xff", b"x" * 200_000, b'{"do": "undrain"}']
    loop = asyncio.get_running_loop()
    ours.setblocking(False)
    await loop.sock_sendall(ours, b"\n".join(lines) + b"\n")
    ours.close()
    await asyncio.wait_for(gone.wait(), 10)
    await following
    assert orders == [{"do": "drain"}, {"do": "undrain"}]


async def test_an_order_that_fails_does_not_cut_the_line(caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = socket.socketpair()
    orders: list[Mapping[str, Any]] = []
    gone = asyncio.Event()

    def obey(order: Mapping[str, Any]) -> None:
        orders.append({"most": int(order["most"])})

    following = asyncio.ensure_future(follow(theirs, obey, gone.set))
    ours.sendall(b'{"most": "many"}\n{}\n' + b"[" * 50_000 + b'\n{"most": 4}\n')
    ours.close()
    await asyncio.wait_for(gone.wait(), 10)
    await following
    assert orders == [{"most": 4}]
    assert caplog.text.count("an order failed") == 2


def test_what_was_ordered_before_is_obeyed_at_once_and_nothing_is_waited_for() -> None:
    ours, theirs = socket.socketpair()
    orders: list[Mapping[str, Any]] = []
    with ours, theirs:
        obey_waiting(theirs, orders.append)
        ours.sendall(b'{"do": "derate", "max_sessions": 4}\n{"do": "drain"}\n')
        obey_waiting(theirs, orders.append)
    assert orders == [{"do": "derate", "max_sessions": 4}, {"do": "drain"}]


async def test_an_order_may_come_in_pieces_and_the_last_without_its_end() -> None:
    ours, theirs = socket.socketpair()
    orders: list[Mapping[str, Any]] = []
    heard, gone = asyncio.Event(), asyncio.Event()

    def obey(order: Mapping[str, Any]) -> None:
        orders.append(order)
        heard.set()

    following = asyncio.ensure_future(follow(theirs, obey, gone.set))
    ours.sendall(b'{"do": "undrain"}\n{"do": "dra')
    await asyncio.wait_for(heard.wait(), 10)
    assert orders == [{"do": "undrain"}]
    ours.sendall(b'in"}\n{"do": "drop"}')
    ours.close()
    await asyncio.wait_for(gone.wait(), 10)
    await following
    assert orders == [{"do": "undrain"}, {"do": "drain"}, {"do": "drop"}]
    assert theirs.fileno() == -1


async def test_a_cancelled_follower_does_not_take_the_launcher_for_gone() -> None:
    ours, theirs = socket.socketpair()
    gone = asyncio.Event()
    following = asyncio.ensure_future(follow(theirs, lambda _: None, gone.set))
    await asyncio.sleep(0)
    following.cancel()
    await asyncio.wait({following})
    assert not gone.is_set()
    ours.close()
    theirs.close()
