"""Nobody in the queue is forgotten or starved: in virtual time, on a machine that is busy, over a network that is late."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.messages import ChargeRequest, SubstationCharge
from services.balancer.attendant import SHORTEST_WAIT_S
from services.balancer.queue import Waiting
from tests.services.balancer.virtual import Yard, run
from tests.services.balancer.world import Desk, World

UNIT_KW = 11.0
UNIT_W = 11_000
#: How often the head is looked at, and how often each substation is polled.
LOOK_S = 0.02
POLL_S = 0.5
#: What the longest pause after failures, a poll and messages that are late take together.
SLACK_S = 3.0


def begin(yard: Yard, name: str, units: int, duration_s: float) -> None:
    """Lets a session run at a substation that no balancer sent there."""
    request_id = f"{name}-{len(list(yard.cores[name].running()))}"
    charge = SubstationCharge(ev_id=request_id, power_kw=UNIT_KW * units, duration_s=duration_s)
    yard.cores[name].admit(charge, request_id, yard.clock.grid_s())


async def wait(desk: Desk, request_id: str, units: int, duration_s: float) -> Waiting:
    """Puts a request into the queue."""
    request = ChargeRequest(ev_id=request_id, request_id=request_id, power_kw=UNIT_KW * units, duration_s=duration_s)
    waiting = await desk.attendant.take(request, desk.world.clock.monotonic_s())
    assert isinstance(waiting, Waiting)
    desk.attendant.wake()
    return waiting


async def placed(desk: Desk, request_id: str, within_s: float) -> bool:
    """Whether a request leaves the queue in time."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + within_s
    while desk.queue.find(request_id) is not None:
        if loop.time() >= end_s:
            return False
        await asyncio.sleep(LOOK_S)
    return True


@pytest.mark.parametrize("seed", range(20))
def test_one_that_asked_a_moment_too_early_is_not_passed_where_it_waits(seed: int) -> None:
    """Planned ends are believed early, so the head is told "full"; those behind must not take what it will have."""
    yard = Yard([2, 2], late_s=0.06, seed=seed)

    async def main() -> None:
        desk = Desk(yard, "ledger", seed, admission="queue")
        begin(yard, "s0", 1, 0.6)
        begin(yard, "s1", 2, 60)
        await asyncio.gather(*(yard.hear(desk, name) for name in yard.cores))
        desk.attendant.start()
        await wait(desk, "large", 2, 0.3)
        await wait(desk, "small", 1, 30)
        assert await placed(desk, "large", 0.6 + 1.0)
        assert desk.queue.find("small") is not None
        await desk.attendant.stop()

    run(yard, main())


async def test_a_retry_that_comes_due_while_the_queue_is_looked_at_is_not_forgotten() -> None:
    world = World([1], repeat("ok"))
    desk = Desk(world, "ledger", 0, admission="queue")
    waiting = await wait(desk, "r0", 1, 1.0)
    waiting.retry_at_s = 0.05
    await desk.attendant.look()
    world.clock.jump(0.06)  # as a machine does that is busy
    assert desk.attendant.pause_s() == SHORTEST_WAIT_S


@dataclass
class Stay:
    """How long who is first was first, in all, and how long there has been room for it now."""

    waiting: Waiting | None = None
    since_s: float = 0.0
    no_room_s: float = 0.0


async def judge(yard: Yard, desk: Desk, longest_s: float) -> None:
    """Until the queue is empty: nobody is its head for longer than what runs takes to end, nor while there is room."""
    stay = Stay()
    while (head := desk.queue.first()) is not None:
        now_s = yard.clock.monotonic_s()
        if head is not stay.waiting:
            stay = Stay(head, now_s, now_s)
        if not yard.fits(head.power_w):
            stay.no_room_s = now_s
        assert now_s - stay.no_room_s <= SLACK_S, f"{head.request_id} waits while there is room"
        assert now_s - stay.since_s <= longest_s + SLACK_S, f"{head.request_id} is passed again and again"
        await asyncio.sleep(LOOK_S)


Asked = tuple[int, float, float]


async def serve(yard: Yard, asked: Sequence[Asked], seed: int) -> int:
    """Lets all that was `asked` wait and be judged; how many got a place."""
    desk = Desk(yard, "ledger", seed, admission="queue", request_timeout_s=1.0)
    desk.attendant.start()
    polls = [asyncio.ensure_future(yard.poll(desk, name, POLL_S)) for name in yard.cores]
    most = max(int((core.capacity_w or 0) // UNIT_W) for core in yard.cores.values())

    async def arrive() -> None:
        for number, (units, duration_s, gap_s) in enumerate(asked):
            await wait(desk, f"r{number}", min(units, most), duration_s)
            await asyncio.sleep(gap_s)  # sleep: in virtual time, arrivals have their times

    arriving = asyncio.ensure_future(arrive())
    await asyncio.sleep(0)
    longest_s = max(duration_s for _, duration_s, _ in asked)
    while len(desk.queue) or not arriving.done():
        await judge(yard, desk, longest_s)
        await asyncio.sleep(LOOK_S)
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    await desk.attendant.stop()
    await desk.revocations.stop()
    return sum(desk.placer.book.find(f"r{number}", 0.0) is not None for number in range(len(asked)))


@settings(max_examples=60, deadline=None)
@given(
    units=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    asked=st.lists(st.tuples(st.integers(1, 4), st.floats(0.05, 2.0), st.floats(0.0, 0.3)), min_size=1, max_size=40),
    late_s=st.sampled_from([0.0, 0.01, 0.06]),
    lost=st.sampled_from([0.0, 0.0, 0.1]),
    busy_s=st.sampled_from([0.0, 0.001]),
    seed=st.integers(0, 99),
)
def test_whoever_is_first_gets_the_first_place_that_is_free(
    units: list[int], asked: list[Asked], late_s: float, lost: float, busy_s: float, seed: int
) -> None:
    """Whatever the order of reports, refusals and ends."""
    yard = Yard(units, late_s, lost, busy_s, seed)
    assert run(yard, serve(yard, asked, seed)) == len(asked)


@pytest.mark.parametrize("seed", range(10))
def test_a_stream_of_small_ones_never_starves_a_large_one(seed: int) -> None:
    rng = Random(seed)
    yard = Yard([4, 4, 3], late_s=0.02, seed=seed)
    asked = [(4 if number % 40 == 10 else 1, rng.uniform(0.2, 2.0), rng.expovariate(10.0)) for number in range(300)]
    assert run(yard, serve(yard, asked, seed)) == len(asked)


def test_the_judge_sees_one_that_is_forgotten() -> None:
    yard = Yard([1])

    async def main() -> None:
        desk = Desk(yard, "ledger", 0, admission="queue")
        await wait(desk, "r0", 1, 1.0)  # nobody attends
        with pytest.raises(AssertionError, match="waits while there is room"):
            await judge(yard, desk, math.inf)

    run(yard, main())
