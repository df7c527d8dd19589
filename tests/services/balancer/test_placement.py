"""Placing over substations that fail in every way, on a clock that jumps: nothing is lost, doubled or refused in vain."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import chain, repeat
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from config.messages import ChargeRequest, SubstationCharge
from config.problems import Problem
from config.settings import BalancerSettings, SubstationSettings
from monitoring.metrics import BalancerMetrics
from services.balancer.book import Book, Entry
from services.balancer.dispatch import Dispatch
from services.balancer.journal import BalancerJournal
from services.balancer.ledger import Ledger
from services.balancer.line import Answer, Page, Result, Silent
from services.balancer.placement import Placer
from services.balancer.recovery import Recovery
from services.balancer.revocations import Revocations
from services.balancer.targets import Target
from services.clock import FakeClock
from services.routing.policies import POLICIES
from services.substation.admission import Admission, Started
from tests.services.grid import until

#: Those that try until nobody may have room.
PATIENT = sorted(name for name, policy in POLICIES.items() if policy.tries is None)

FATES = ["ok", "ok", "ok", "lost", "lost-answer", "unreachable", "closed"]


class World:
    """Substations that are only admissions, behind a line on which each attempt meets the next of `fates`."""

    def __init__(self, places: list[int], fates: Iterator[str], revocations: Iterator[str] | None = None) -> None:
        self.clock = FakeClock()
        self.cores = {
            f"s{number}": Admission(SubstationSettings(name=f"s{number}", max_sessions=most), epoch=number + 1)
            for number, most in enumerate(places)
        }
        self._fates = fates
        self._revocations = fates if revocations is None else revocations

    async def charge(self, target: Target, request_id: str, body: bytes, timeout_s: float) -> Answer:
        fate = next(self._fates)
        await asyncio.sleep(0)
        if fate == "unreachable":
            self.clock.jump(0.001)
            return Answer(Result.UNREACHABLE)
        core = self.cores[target.name]
        if fate == "closed":
            return Answer(Result.CLOSED, core.report(self.clock.grid_s()))
        if fate != "lost":
            outcome = core.admit(SubstationCharge.model_validate_json(body), request_id, self.clock.grid_s())
        if fate != "ok":
            self.clock.jump(timeout_s)
            return Answer(Result.UNKNOWN)
        report = core.report(self.clock.grid_s())
        await asyncio.sleep(0)
        if isinstance(outcome, Started):
            return Answer(Result.ACCEPTED, report, {"ends_in_s": outcome.session.ends_s - self.clock.grid_s()})
        known = {"revoked": Result.REVOKED, "substation-full": Result.FULL}
        wait_s = {} if outcome.retry_after_s is None else {"retry_after_s": outcome.retry_after_s}
        return Answer(known[outcome.reason], report, wait_s)

    async def revoke(self, target: Target, request_id: str, attempt: int, timeout_s: float) -> None:
        if next(self._revocations) in {"lost", "unreachable"}:
            raise Silent("lost")
        self.cores[target.name].revoke(request_id, attempt, self.clock.grid_s())

    async def page(self, target: Target, timeout_s: float) -> Page:
        return Page(self.cores[target.name].report(self.clock.grid_s()), "")

    async def sessions(self, target: Target, since_s: float, timeout_s: float) -> dict[str, Any]:
        return {}

    async def cancel(self, target: Target, request_id: str, timeout_s: float) -> dict[str, Any] | None:
        session = self.cores[target.name].revoke(request_id, None, self.clock.grid_s())
        return None if session is None else {"state": "cancelled"}

    async def session(self, target: Target, request_id: str, timeout_s: float) -> dict[str, Any] | None:
        session = self.cores[target.name].find(request_id)
        return None if session is None else {"state": session.state}

    async def sleep(self, seconds: float) -> None:
        self.clock.jump(seconds)
        await asyncio.sleep(0)

    def running(self) -> Counter[str]:
        return Counter(session.request_id for core in self.cores.values() for session in core.running())


async def _nothing() -> None: ...


def recovered() -> Recovery:
    """One that has nothing to recover."""
    journal = BalancerJournal(None, "process", lambda: 0.0)
    recovery = Recovery(journal, lambda _: None, _nothing, asyncio.Event())
    recovery.ready.set()
    return recovery


class Desk:
    """A balancer without HTTP before `world`."""

    def __init__(self, world: World, policy: str, seed: int) -> None:
        self.world = world
        now_s = world.clock.monotonic_s
        self.ledger = Ledger(7_400)
        self.ledger.update(Target(name, f"http://{name}") for name in world.cores)
        for account in self.ledger:
            account.fold(world.cores[account.target.name].report(0.0), now_s(), now_s())
        self.revocations = Revocations(world, self.ledger, now_s, retry_s=0.0)
        self.placer = Placer(
            self.ledger,
            world,
            POLICIES[policy](),
            Book(),
            self.revocations,
            BalancerMetrics(CollectorRegistry()),
            Random(seed),
            now_s=now_s,
            sleep=world.sleep,
        )
        self.dispatch = Dispatch(BalancerSettings(), self.placer, recovered())

    async def ask(self, request_id: str, within_s: float = 1e4) -> dict[str, Any] | Problem:
        request = ChargeRequest(ev_id=request_id, request_id=request_id, duration_s=1e8)
        return await self.dispatch.answer(request, self.world.clock.monotonic_s() + within_s)


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
