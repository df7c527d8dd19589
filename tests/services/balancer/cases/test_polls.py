"""Polls that come together, late, twice, out of order, seldom or never."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from itertools import repeat
from random import Random

import pytest

from config.messages import SubstationCharge
from services.routing.reference import blocked_pooled, jsq_spread
from tests.services.balancer.cases.asking import accepted, bodies, fellows_of, waited
from tests.services.balancer.cases.judging import NEAR_PERFECT, expect_no_worse_than_one_pool
from tests.services.balancer.day import Day
from tests.services.balancer.promises import expect_kept, figures, of_services, of_world
from tests.services.balancer.test_simulation import SLOTS, poisson, simulate
from tests.services.balancer.world import Desk, World
from tests.services.grid import a_grid


async def test_all_replicas_poll_together() -> None:
    """All replicas poll together: four believe the same substation empty at once, and it is not overrun."""
    world = World([10] * 5, repeat("ok"))
    desks = [Desk(world, "ledger", seed) for seed in range(4)]
    rng, told = Random(1), list[str]()
    for turn in range(12):
        emptied = world.cores[f"s{turn % 5}"]
        for session in rng.sample(list(emptied.running()), emptied.sessions * 4 // 5):
            emptied.revoke(session.request_id, None, world.clock.grid_s(), "cancelled")
        now_s = world.clock.monotonic_s()
        for account in (account for desk in desks for account in desk.ledger):
            account.fold(world.report(account.target.name), now_s, now_s, polled=True)
        room = 50 - sum(core.sessions for core in world.cores.values())
        asking = [(desk, f"t{turn}-{number}") for number, desk in enumerate(desks * 4)]
        answers = await asyncio.gather(*(desk.ask(request_id) for desk, request_id in asking))
        assert len(accepted(answers)) == min(room, 16), "nobody is refused while there is room"
        told += [answer["request_id"] for answer in accepted(answers)]
        expect_kept(of_world(world), told)
        waited(world, 5.0)


async def test_all_replicas_poll_together_and_share_a_burst() -> None:
    """All replicas poll together, then each is asked for a share of twice what there is: half of it is placed."""
    async with AsyncExitStack() as stack:
        grid = await stack.enter_async_context(a_grid())
        stations = [await grid.substation(f"substation{number}") for number in (1, 2, 3)]
        fellows = await fellows_of(stack, grid, 4)
        for service in fellows.services.values():
            for station in stations:
                service.core.watch.look(station.name)
        asked = [fellows.ask(number % 4, f"EV{number}", request_id=f"r{number}") for number in range(60)]
        answers = await asyncio.gather(*asked)
        assert Counter(answer.status for answer in answers) == {202: 30, 503: 30}
        told = [body["request_id"] for body in await bodies(answers) if "routed_to" in body]
        expect_kept(of_services(*stations), told)


DELAYS: dict[str, Callable[[Random], Sequence[float]]] = {
    "one in ten lost": lambda rng: (0.0,) if rng.randrange(10) else (),
    "30 s late": lambda _: (30.0,),
    "duplicated": lambda rng: (0.0, 0.0, rng.uniform(0, 10)),
    "older than a newer reply": lambda rng: (rng.uniform(0, 30),),
}


@pytest.mark.parametrize("polls", DELAYS)
async def test_polls_come_as_they_like(polls: str) -> None:
    """Polls lost, 30 s late, duplicated, older than a newer reply: replies and planned ends make up for them."""
    arrivals = poisson(3, 0.95, 1_000, seed=2)
    world = World([SLOTS] * 3, repeat("ok"))
    told = await Day(Desk(world, "ledger", 1), 5.0, DELAYS[polls]).run(arrivals)
    expect_no_worse_than_one_pool(world, arrivals, told)
    perfect = jsq_spread(arrivals, [SLOTS] * 3, since_s=60.0)
    spread = figures(of_world(world), 60.0, arrivals[-1].at_s).spread
    assert spread is not None
    assert perfect is not None
    assert spread <= NEAR_PERFECT * perfect


async def test_a_late_poll_says_full() -> None:
    """Polls 30 s late: one that says "full", of somebody who has gone since, makes nobody be refused."""
    world = World([1], repeat("ok"))
    desk = Desk(world, "ledger", 1)
    elsewhere = SubstationCharge(ev_id="other", duration_s=1.0)  # another balancer sent it
    world.cores["s0"].admit(elsewhere, "other", world.clock.grid_s())
    (account,), said = desk.ledger, world.report("s0")
    waited(world, 30.0)
    account.fold(said, 0.0, world.clock.monotonic_s(), polled=True)
    assert accepted([await desk.ask("r1")])
    expect_kept(of_world(world), ["other", "r1"])


async def test_no_poll_ever_comes() -> None:
    """Polls lost: where not one is answered, replies and planned ends are enough to use every place."""
    arrivals = poisson(3, 0.95, 1_000, seed=2)
    world = World([SLOTS] * 3, repeat("ok"))
    told = await Day(Desk(world, "ledger", 1), 5.0, lambda _: ()).run(arrivals)
    expect_no_worse_than_one_pool(world, arrivals, told)


@pytest.mark.parametrize(("substations", "load"), [(3, 0.5), (3, 0.95), (20, 0.8)])
@pytest.mark.parametrize("poll_interval_s", [0.1, 0.5, 5.0, 60.0])
def test_any_poll_interval_is_as_good_as_perfect_information(
    substations: int, load: float, poll_interval_s: float
) -> None:
    """Poll intervals 0.1…60 s: planned ends make each as good as perfect information."""
    arrivals = poisson(substations, load, 1_000, seed=2)
    slots = [SLOTS] * substations
    perfect, pooled = jsq_spread(arrivals, slots, since_s=60.0), blocked_pooled(arrivals, sum(slots), since_s=60.0)
    assert perfect is not None
    for policy in ("ledger", "least-loaded"):
        outcome = simulate(policy, substations, arrivals, poll_interval_s=poll_interval_s)
        assert outcome.spread <= 1.05 * perfect
        assert outcome.blocked_share == pytest.approx(pooled, abs=0.001)
        assert (outcome.excess, outcome.overloads) == (0, 0)
