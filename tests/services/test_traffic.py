"""When it is quiet."""

from __future__ import annotations

import asyncio
import time

from services.traffic import Traffic


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


async def test_waiting_has_a_limit() -> None:
    traffic = Traffic()
    traffic.stop()
    with traffic.request():
        assert not await traffic.quiet(0.01, 0.05)
