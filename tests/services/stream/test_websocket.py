"""Who is asked for a stream and has none to give says for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import cast

import aiohttp
import pytest
from aiohttp import web

from config.settings import SubstationSettings
from services.clock import SystemClock
from services.http import application
from services.stream.caller import Caller
from services.stream.seam import NoStream, Unsent
from services.stream.websocket import BUSY_S, OLDER_S, Dialer, SocketWire
from services.substation.service import SubstationService
from services.traffic import Traffic
from tests.services.grid import a_grid
from tests.services.virtual import VirtualLoop


@asynccontextmanager
async def refusal_of(app: web.Application) -> AsyncIterator[NoStream]:
    async with a_grid() as grid:
        await grid.serve_app("asked", app)
        dialer = Dialer()
        with pytest.raises(NoStream) as refused:
            await dialer.dial(grid.urls["asked"], {})
        await dialer.close()
        yield refused.value


async def test_an_older_one_is_asked_otherwise_for_long() -> None:
    async with refusal_of(web.Application()) as refusal:
        assert refusal.for_s == OLDER_S


async def test_one_that_stops_is_asked_otherwise_for_a_moment() -> None:
    traffic = Traffic()
    station = SubstationService(SubstationSettings(), SystemClock(), Random())
    traffic.stop()
    async with refusal_of(application(station, traffic)) as refusal:
        assert refusal.for_s == BUSY_S


@pytest.mark.parametrize(("base", "why"), [("http://a..b:1", "label"), ("http://127.0.0.1:99999", "Port out of range")])
async def test_where_nobody_can_be_the_reason_is_told_and_nothing_fails(
    base: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    dialer = Dialer()
    caller = Caller(partial(dialer.dial, base, {}))
    with pytest.raises(Unsent, match=why):
        await caller.ask(b"{}", 5.0)
    await caller.close()
    await dialer.close()
    assert not caplog.records


class Socket:
    """Brings a message after each of `pauses_s`, and then none."""

    def __init__(self, *pauses_s: float) -> None:
        self.pauses_s = list(pauses_s)
        self.closed = asyncio.Event()

    async def receive(self) -> aiohttp.WSMessage:
        if self.pauses_s:
            await asyncio.sleep(self.pauses_s.pop(0))  # sleep: virtual time
            return aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, b"x", None)
        await self.closed.wait()
        return aiohttp.WSMessage(aiohttp.WSMsgType.CLOSING, None, None)

    async def close(self) -> None:
        self.closed.set()


def test_one_that_says_nothing_for_long_is_closed_and_one_that_is_not_listened_to_is_not() -> None:
    loop = VirtualLoop()

    async def heard() -> list[float]:
        wire = SocketWire(cast(web.WebSocketResponse, Socket(100.0, 119.0, 1.0, 119.0)), 120.0)
        at_s: list[float] = []
        for pause_s in (0.0, 0.0, 1000.0, 0.0):
            await wire.receive()
            at_s.append(round(loop.time(), 1))
            await asyncio.sleep(pause_s)  # sleep: virtual time
        with pytest.raises(ConnectionError):
            await wire.receive()
        return [*at_s, round(loop.time(), 1)]

    try:
        assert loop.run_until_complete(heard()) == [100.0, 219.0, 220.0, 1339.0, 1459.0]
        assert not loop.errors
    finally:
        loop.close()
