"""The open loop: against a real server, and against a client whose answers a test decides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from aiohttp import web
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from gridctl.loadtest.arrivals import Arrival, Identity, Order
from gridctl.loadtest.client import Done, Outcome
from gridctl.loadtest.engine import Engine
from gridctl.loadtest.http import HttpClient
from gridctl.loadtest.tally import Latencies, Tally
from tests.gridctl.loadtest.server import accept, serving


def orders(*times: float) -> Iterator[Order]:
    return Identity("t", 1000).orders(Arrival(at_s) for at_s in times)


class Held:
    """A client whose every answer waits until the test lets it go."""

    def __init__(self) -> None:
        self.waiting: list[Done] = []
        self.all_sent = asyncio.Event()

    def send(self, _order: Order, done: Done) -> None:
        self.waiting.append(done)
        if len(self.waiting) == 3:
            self.all_sent.set()

    def let_go(self) -> None:
        for done in self.waiting:
            done(Outcome("accepted", substation="a", status=202))


async def test_no_order_waits_for_an_answer() -> None:
    client, tally = Held(), Tally()
    running = asyncio.create_task(Engine(client, tally).run(orders(0, 0.01, 0.02)))
    await asyncio.wait_for(client.all_sent.wait(), 5)
    assert (tally.sent, tally.finished) == (3, 0)
    client.let_go()
    await running
    assert (tally.accepted, dict(tally.per_substation)) == (3, {"a": 3})


async def test_a_stall_shows_in_the_latencies_of_all_who_waited() -> None:
    """One of twenty requests each 10 ms stalls the server for half a second: half of all waited, not one in twenty."""
    seen = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal seen
        seen += 1
        async with lock:
            if seen == 5:
                await asyncio.sleep(0.5)  # sleep: the stall whose effect is measured
        return await accept(request)

    lock = asyncio.Lock()
    tally = Tally()
    async with serving(handler) as url:
        with HttpClient(f"{url}/charge", 5) as client:
            await Engine(client, tally).run(orders(*(0.01 * k for k in range(50))))
    assert tally.accepted == 50
    median = tally.latencies.percentile_ms(50)
    assert median is not None
    assert median > 150
    assert tally.latencies.max_ms is not None
    assert tally.latencies.max_ms > 450


async def test_a_late_load_tester_says_so_and_counts_from_the_intended_time() -> None:
    now = 0.0

    class Slow:
        def send(self, _order: Order, done: Done) -> None:
            nonlocal now
            now += 1.0  # each order keeps the machine busy for a second
            done(Outcome("accepted", status=202))

    tally = Tally()
    await Engine(Slow(), tally, clock=lambda: now).run(orders(0, 0, 0))
    assert tally.delays.max_ms == 2000
    assert tally.latencies.max_ms == 3000


async def test_an_interruption_ends_the_sending_and_waits_a_little() -> None:
    client, tally = Held(), Tally()
    engine = Engine(client, tally, grace_s=0.01)
    running = asyncio.create_task(engine.run(orders(0, 0, 0, 3600)))
    await asyncio.wait_for(client.all_sent.wait(), 5)
    engine.interrupt()
    await asyncio.wait_for(running, 5)
    assert (tally.sent, tally.failed) == (3, 3)
    assert list(tally.failures) == ["not answered when the run was interrupted"]
    assert engine.interrupted


async def test_an_interruption_while_answers_are_out_counts_those_that_come() -> None:
    client, tally = Held(), Tally()
    engine = Engine(client, tally, grace_s=5)
    running = asyncio.create_task(engine.run(orders(0, 0, 0)))
    await asyncio.wait_for(client.all_sent.wait(), 5)
    engine.interrupt()
    client.let_go()
    await asyncio.wait_for(running, 5)
    assert (tally.accepted, tally.failed) == (3, 0)


async def test_every_outcome_is_reported_with_its_order() -> None:
    seen: list[tuple[str, str]] = []

    async def handler(_request: web.Request) -> web.Response:
        return web.json_response({"reason": "grid-full"}, status=503)

    tally = Tally()
    async with serving(handler) as url:
        with HttpClient(f"{url}/charge", 5) as client:
            report = lambda order, outcome, _: seen.append((order.request_id, outcome.kind))  # noqa: E731
            await Engine(client, tally, report).run(orders(0))
    assert seen == [("lt-t-0", "refused")]
    assert dict(tally.refused_reasons) == {"grid-full": 1}


async def test_a_report_that_cannot_be_printed_ends_the_run() -> None:
    def report(_order: Order, _outcome: Outcome, _latency_s: float) -> None:
        raise BrokenPipeError

    class Prompt:
        def send(self, _order: Order, done: Done) -> None:
            done(Outcome("accepted", status=202))

    tally = Tally()
    with pytest.raises(BrokenPipeError):
        await asyncio.wait_for(Engine(Prompt(), tally, report).run(orders(0, 3600)), 5)
    assert tally.sent == 1


async def test_a_broken_connection_has_no_latency_and_a_timeout_has_one() -> None:
    tally = Tally()
    tally.note(Outcome("failed", "connection refused"), 0.5)
    assert tally.latencies.max_ms is None
    tally.note(Outcome("failed", "no answer", timed_out=True), 0.5)
    assert tally.latencies.max_ms == 500


def test_percentiles_never_exceed_the_maximum() -> None:
    latencies = Latencies()
    assert latencies.percentile_ms(50) is None
    for ms in range(1, 1001):
        latencies.add(ms / 1000)
    assert latencies.percentile_ms(99.9) is not None
    assert latencies.percentile_ms(100) == latencies.max_ms == 1000
    median = latencies.percentile_ms(50)
    assert median is not None
    assert abs(median - 500) < 1
    latencies.add(-1)
    latencies.add(1e9)
    assert latencies.max_ms == 3_600_000


@given(st.lists(st.floats(0, 4000, allow_nan=False), min_size=1, max_size=50), st.sampled_from([1.0, 50, 90, 99, 99.9]))
def test_counted_is_what_an_hdr_histogram_records(values: list[float], percent: float) -> None:
    latencies, histogram = Latencies(), HdrHistogram(1, 3_600_000_000, 3)
    for value in values:
        latencies.add(value)
        histogram.record_value(min(3_600_000_000, max(1, round(value * 1e6))))
    most_us = min(3_600_000_000, max(1, round(max(values) * 1e6)))
    assert latencies.percentile_ms(percent) == min(histogram.get_value_at_percentile(percent), most_us) / 1000


async def test_an_order_that_is_not_due_waits_for_the_start_it_was_given() -> None:
    client, tally = Held(), Tally()
    start_s = time.monotonic() + 0.05
    running = asyncio.create_task(Engine(client, tally).run(orders(0, 0, 0), start_s))
    await asyncio.wait_for(client.all_sent.wait(), 5)
    assert time.monotonic() > start_s - 0.001
    client.let_go()
    await running


async def test_an_answer_after_it_was_given_up_counts_no_more() -> None:
    client, tally = Held(), Tally()
    engine = Engine(client, tally, grace_s=0.01)
    running = asyncio.create_task(engine.run(orders(0, 0, 0)))
    await asyncio.wait_for(client.all_sent.wait(), 5)
    engine.interrupt()
    await asyncio.wait_for(running, 5)
    client.let_go()
    assert (tally.failed, tally.accepted) == (3, 0)
