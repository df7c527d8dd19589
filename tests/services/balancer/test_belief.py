"""A full grid is believed to be full without asking all of it, and nobody is refused for that while there is room."""

from __future__ import annotations

import asyncio
import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.problems import Problem
from services.balancer.belief import BELIEVED_S, CERTAIN_S, until_s
from tests.services.balancer.test_account import POWER_W, report
from tests.services.balancer.test_account import account as an_account
from tests.services.balancer.virtual import Yard, run
from tests.services.balancer.world import Desk

UNIT_W = 11_000
POLL_S = 5.0


def test_only_what_was_asked_for_from_one_that_pushes_is_believed_for_long() -> None:
    assert until_s(10.0, 10.1, pushes=True) == 10.0 + BELIEVED_S
    assert until_s(10.0, 12.0, pushes=True) == 12.0 + CERTAIN_S, "its answer took long, so it says what was lately"
    assert until_s(10.0, 10.1, pushes=False) == 10.1 + CERTAIN_S
    assert until_s(-math.inf, 10.1, pushes=True) == 10.1 + CERTAIN_S


def test_it_is_believed_until_its_next_planned_end_or_a_push() -> None:
    entry = an_account(pushes=True)
    entry.fold(report(1, 10, ends=(0.5,)), 0.0, 0.0)
    for now_s, full in ((0.49, True), (0.5, False)):
        entry.advance(now_s)
        assert entry.is_certainly_full(POWER_W, 1, now_s) is full
    entry.fold(report(2, 10), 0.6, 0.6)
    assert entry.is_certainly_full(POWER_W, 1, 0.6 + BELIEVED_S)
    assert not entry.is_certainly_full(POWER_W, 1, 0.61 + BELIEVED_S)
    entry.fold(report(3, 9), -math.inf, 0.7)
    assert not entry.is_certainly_full(POWER_W, 1, 0.7)


def test_one_in_doubt_is_believed_for_a_moment_only() -> None:
    entry = an_account(pushes=True)
    entry.fold(report(1, 10), 0.0, 0.0)
    entry.suspect(0.1, 0.1)
    assert not entry.is_certainly_full(POWER_W, 1, 0.1)


class Client:
    """Asks for places one after the other, and keeps who was refused in vain."""

    def __init__(self, yard: Yard, desk: Desk, known_s: float) -> None:
        self.in_vain: list[str] = []
        self.refused = 0
        self._yard = yard
        self._desk = desk
        self._known_s = known_s

    async def ask(self, number: int, duration_s: float) -> None:
        """`known_s` after an end that was not planned the balancer must know it."""
        yard, arrived_s = self._yard, self._yard.clock.monotonic_s()
        answer = await self._desk.ask(f"r{number}", power_kw=11.0, duration_s=duration_s)
        if not isinstance(answer, Problem):
            return
        self.refused += 1
        assert answer.reason == "grid-full"
        for name, core in yard.cores.items():
            used_w = yard.most_used_w(name, arrived_s, yard.clock.monotonic_s(), self._known_s)
            if used_w + UNIT_W <= (core.capacity_w or 0):
                self.in_vain.append(f"r{number}: {name}")


async def _load(
    yard: Yard, seed: int, count: int, rate: float, unplanned: float = 0.0, pushed: float = 1.0, known_s: float = 0.0
) -> tuple[Client, float]:
    """`count` requests at `rate` a second; the client, and attempts a request.

    For a share `unplanned` of them some session ends early, and a share `pushed` of that is pushed.
    """
    desk, rng = Desk(yard, "ledger", seed, pushes=True), Random(seed)
    client = Client(yard, desk, known_s)
    tasks = [asyncio.ensure_future(yard.poll(desk, name, POLL_S)) for name in yard.cores]
    asks = []

    async def unplug(name: str) -> None:
        for session in list(yard.cores[name].running())[:1]:
            yard.cores[name].revoke(session.request_id, None, yard.clock.grid_s(), "cancelled")
            if rng.random() < pushed:
                await yard.push(desk, name)

    for number in range(count):
        asks.append(asyncio.ensure_future(client.ask(number, rng.uniform(0.2, 3.0))))
        if rng.random() < unplanned:
            asks.append(asyncio.ensure_future(unplug(rng.choice(list(yard.cores)))))
        await asyncio.sleep(rng.expovariate(rate))  # sleep: in virtual time, arrivals have their times
    await asyncio.gather(*asks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    (attempts,) = desk.placer.metrics.attempts.collect()
    return client, sum(each.value for each in attempts.samples if each.name.endswith("_total")) / count


UNITS = st.lists(st.integers(1, 4), min_size=1, max_size=5)


@settings(max_examples=25, deadline=None)
@given(UNITS, st.sampled_from([0.0, 0.003, 0.05]), st.sampled_from([0.0, 0.001]), st.integers(0, 99))
def test_nobody_is_refused_while_there_is_room(units: list[int], late_s: float, busy_s: float, seed: int) -> None:
    """Sessions end as planned."""
    yard = Yard(units, late_s, busy_s=busy_s, seed=seed)
    client, _ = run(yard, _load(yard, seed, 80, rate=sum(units)))
    assert client.in_vain == []


@settings(max_examples=15, deadline=None)
@given(UNITS, st.sampled_from([0.0, 0.003, 0.03]), st.integers(0, 99))
def test_nobody_is_refused_while_there_is_room_that_a_push_told_of(units: list[int], late_s: float, seed: int) -> None:
    """Sessions end when they like; the balancer knows it when the push came."""
    yard = Yard(units, late_s, seed=seed)
    client, _ = run(yard, _load(yard, seed, 80, rate=sum(units), unplanned=0.3, known_s=late_s))
    assert client.in_vain == []


@settings(max_examples=15, deadline=None)
@given(UNITS, st.integers(0, 99))
def test_a_push_that_is_lost_is_made_up_for_soon(units: list[int], seed: int) -> None:
    """No belief outlasts its time."""
    yard, known_s = Yard(units, 0.003, seed=seed), BELIEVED_S + 0.01
    client, _ = run(yard, _load(yard, seed, 80, rate=sum(units), unplanned=0.3, pushed=0.5, known_s=known_s))
    assert client.in_vain == []


@pytest.mark.parametrize("seed", range(3))
def test_a_full_grid_is_not_asked_as_a_whole_for_each_refusal(seed: int) -> None:
    yard = Yard([10] * 20, late_s=0.003, seed=seed)
    client, attempts = run(yard, _load(yard, seed, 1_500, rate=200.0))
    assert client.in_vain == []
    assert client.refused > 300
    assert attempts < 1.2
