"""When it is quiet."""

from __future__ import annotations

import asyncio
import time

from services.traffic import LULL_S, Traffic


async def test_nothing_in_flight_is_quiet_after_the_silence() -> None:
    traffic = Traffic()
    traffic.stop()
    began_s = time.monotonic()
    assert await traffic.quiet(0.05, 10)
    assert 0.05 <= time.monotonic() - began_s < 5


async def test_a_request_in_flight_is_waited_for_and_each_new_one_begins_the_silence_anew() -> None:
    traffic = Traffic()
    with traffic.request():
        traffic.stop()
        quiet = asyncio.ensure_future(traffic.quiet(0.05, 10))
        done, _ = await asyncio.wait({quiet}, timeout=0.2)
        assert not done
    ended_s = time.monotonic()
    assert await quiet
    assert time.monotonic() - ended_s >= 0.05


async def test_where_nobody_is_connected_it_is_quiet_at_once_and_so_it_is_when_the_last_one_leaves() -> None:
    traffic, connected = Traffic(), 1
    traffic.stop()
    quiet = asyncio.ensure_future(traffic.quiet(3600, 7200, lambda: connected == 0))
    done, _ = await asyncio.wait({quiet}, timeout=2 * LULL_S)
    assert not done
    connected = 0
    traffic.left()
    assert await quiet  # and not after an hour


async def test_where_nobody_is_connected_what_is_in_flight_is_waited_for() -> None:
    traffic = Traffic()
    with traffic.request():
        traffic.stop()
        quiet = asyncio.ensure_future(traffic.quiet(3600, 7200, lambda: True))
        done, _ = await asyncio.wait({quiet}, timeout=2 * LULL_S)
        assert not done
    assert await quiet


async def test_waiting_has_a_limit() -> None:
    traffic = Traffic()
    traffic.stop()
    with traffic.request():
        assert not await traffic.quiet(0.01, 0.05)
