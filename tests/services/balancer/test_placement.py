"""Placing over substations that fail in every way, on a clock that jumps: nothing is lost, doubled or refused in vain."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import chain, repeat
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from config.messages import SubstationCharge
from config.problems import Problem
from services.balancer.book import Entry
from services.balancer.line import Answer
from services.routing.policies import POLICIES
from tests.services.balancer.world import Desk, World
from tests.services.grid import until

#: Those that try until nobody may have room.
PATIENT = sorted(name for name, policy in POLICIES.items() if policy.tries is None)

FATES = ["ok", "ok", "ok", "lost", "lost-answer", "unreachable", "closed"]


async def _all(world: World, policy: str, seed: int, count: int, within_s: float) -> dict[str, Any]:
    desk = Desk(world, policy, seed)
    ids = [f"r{number}" for number in range(count)]
    # each twice at once: the same request must never be two sessions
    answers = await asyncio.gather(*(desk.ask(request_id, within_s) for request_id in ids + ids))
    await until(lambda: not len(desk.revocations))
    for first, second in zip(answers[:count], answers[count:], strict=True):
        assert _where(first) == _where(second)
    return dict(zip(ids, answers[:count], strict=True))


def _where(answer: dict[str, Any] | Problem) -> object:
    return answer.reason if isinstance(answer, Problem) else answer["routed_to"]


@settings(max_examples=120, deadline=None)
@given(
    places=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    fates=st.lists(st.sampled_from(FATES), max_size=60),
    policy=st.sampled_from(sorted(POLICIES)),
    count=st.integers(1, 15),
    seed=st.integers(0, 9),
)
def test_every_accepted_request_has_one_session_and_no_other_has_any(
    places: list[int], fates: list[str], policy: str, count: int, seed: int
) -> None:
    world = World(places, chain(fates, repeat("ok")))
    answers = asyncio.run(_all(world, policy, seed, count, within_s=1e4))
    accepted = {request_id for request_id, answer in answers.items() if not isinstance(answer, Problem)}
    assert world.running() == Counter(dict.fromkeys(accepted, 1))
    for core in world.cores.values():
        assert core.sessions <= core.max_sessions


@settings(max_examples=80, deadline=None)
@given(
    places=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    policy=st.sampled_from(PATIENT),
    count=st.integers(1, 25),
    seed=st.integers(0, 9),
)
def test_nothing_is_refused_while_there_is_room(places: list[int], policy: str, count: int, seed: int) -> None:
    world = World(places, repeat("ok"))
    answers = asyncio.run(_all(world, policy, seed, count, within_s=10.0))
    statuses = Counter("refused" if isinstance(answer, Problem) else "accepted" for answer in answers.values())
    assert statuses["accepted"] == min(count, sum(places))
    for answer in answers.values():
        if isinstance(answer, Problem):
            assert answer.reason == "grid-full"
            assert answer.retry_after_s is not None
            assert 9e7 < answer.retry_after_s <= 1e8


async def test_time_that_is_over_before_it_began_is_504() -> None:
    world = World([1], repeat("ok"))
    answer = await Desk(world, "least-loaded", 0).ask("r1", within_s=0.0)
    assert isinstance(answer, Problem)
    assert (answer.status, answer.reason) == (504, "timeout")


async def test_two_others_can_be_tried_within_any_deadline() -> None:
    for within_s in (0.5, 2.0, 10.0, 60.0):
        world = World([5, 5, 5], chain(["lost"] * 4, repeat("ok")), repeat("ok"))
        desk = Desk(world, "least-loaded", 0)
        answer = await desk.ask("r1", within_s)
        assert not isinstance(answer, Problem)
        entry = desk.placer.book.find("r1", 0.0)
        assert isinstance(entry, Entry)
        assert entry.attempt == 3
        await desk.revocations.stop()


async def test_a_policy_that_tries_one_only_blames_that_one_and_not_who_is_full() -> None:
    world = World([1, 2], chain(["ok"], repeat("unreachable")))
    desk = Desk(world, "least-loaded-stale", 0)
    assert not isinstance(await desk.ask("r1"), Problem)
    for account in desk.ledger:
        account.fold(world.report(account.target.name), 0.0, 0.0, polled=True)
    answer = await desk.ask("r2", within_s=1.0)
    assert isinstance(answer, Problem)
    assert (answer.status, answer.reason) == (503, "substations-unreachable")


class Sluggish(World):
    """Its answers take so long that sessions end meanwhile."""

    async def charge(self, *asked: Any) -> Answer:
        answer = await super().charge(*asked)
        self.clock.jump(20.0)
        return answer


def _avoidable(desk: Desk) -> float:
    return float(desk.placer.metrics.avoidable_rejections.total)


async def test_that_a_session_ended_after_its_substation_said_no_makes_no_refusal_avoidable() -> None:
    desk = Desk(Sluggish([1], repeat("ok")), "ledger", 0)
    assert not isinstance(await desk.ask("r1", duration_s=30.0), Problem)
    refused = await desk.ask("r2", duration_s=30.0)
    assert isinstance(refused, Problem)
    assert (refused.reason, _avoidable(desk)) == ("grid-full", 0)


async def test_a_refusal_is_avoidable_where_one_that_has_room_was_not_asked() -> None:
    world = World([1, 1], repeat("ok"))
    desk = Desk(world, "least-loaded-stale", 0)  # it tries one only
    world.cores["s0"].admit(SubstationCharge(ev_id="EV1", duration_s=1e8), "somebody-else", 0.0)
    refused = await desk.ask("r1")
    assert isinstance(refused, Problem)
    assert (refused.reason, _avoidable(desk)) == ("grid-full", 1)
