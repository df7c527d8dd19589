"""None, one, all: who is down, full, or comes and goes."""

from __future__ import annotations

import asyncio
from itertools import repeat

import pytest

from config.problems import Problem
from tests.services.balancer.cases.asking import accepted, waited
from tests.services.balancer.day import Day
from tests.services.balancer.promises import expect_kept, of_world
from tests.services.balancer.test_simulation import SLOTS, poisson
from tests.services.balancer.world import Desk, World
from tests.services.grid import a_grid


@pytest.mark.parametrize(
    ("names", "reason"),
    [((), "no-substations"), (("a=127.0.0.1:9", "b=127.0.0.1:9"), "substations-unreachable")],
)
async def test_none_or_all_down(names: tuple[str, ...], reason: str) -> None:
    """None, all down: the client is told so, within its time."""
    async with a_grid() as grid:
        await grid.balancer(*names, request_timeout_s=1.0)
        began_s = asyncio.get_running_loop().time()
        answer = await grid.route()
        assert asyncio.get_running_loop().time() - began_s < 1.0
        assert (answer.status, (await answer.json())["reason"]) == (503, reason)
        assert answer.headers["Retry-After"] == "1"
        assert (await grid.get("balancer", "/health"))["failed_total"] == 1


@pytest.mark.parametrize("substations", [1, 3])
async def test_one_or_all_full(substations: int) -> None:
    """One, all full: who comes is told when the first of all ends, exactly, and then there is room."""
    world = World([2] * substations, repeat("ok"))
    desk = Desk(world, "ledger", 1)
    for number in range(2 * substations):
        await desk.ask(f"r{number}", duration_s=10.0 + number)
    waited(world, 1.0)
    refused = await desk.ask("late")
    assert isinstance(refused, Problem)
    assert refused.status == 503
    assert refused.retry_after_s == pytest.approx(9.0)
    waited(world, 9.0)
    assert accepted([await desk.ask("late")])
    expect_kept(of_world(world), ["late", *(f"r{number}" for number in range(2 * substations))])


class Flapping(World):
    """`s0` can be reached in every other span of `span_s` seconds."""

    def __init__(self, places: list[int], span_s: float) -> None:
        super().__init__(places, repeat("ok"))
        self._span_s = span_s
        self.missed = 0

    def is_up(self, name: str) -> bool:
        return name != "s0" or int(self.clock.monotonic_s() / self._span_s) % 2 == 0

    def fate(self, name: str) -> str:
        if self.is_up(name):
            return "ok"
        self.missed += 1
        return "unreachable"


@pytest.mark.parametrize(("load", "least_share"), [(0.5, 0.03), (0.95, 0.5)])
@pytest.mark.parametrize("span_s", [0.5, 3.0, 20.0])
async def test_one_flaps(span_s: float, load: float, least_share: float) -> None:
    """Flapping: one that comes and goes is used where it is needed, and few ask it in vain."""
    world = Flapping([SLOTS] * 3, span_s)
    told = await Day(Desk(world, "ledger", 1), 5.0).run(poisson(3, load, 700, seed=4), within_s=0.4)
    assert told.in_vain == []
    records = of_world(world)
    expect_kept(records, told.accepted)
    flapping, steady, _ = (len(stays) for _, stays in records.values())
    assert flapping > least_share * steady
    assert world.missed < 175, "half of the time it is not there, and it looks the emptiest all the while"
