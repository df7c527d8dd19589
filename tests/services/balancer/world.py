"""A balancer without HTTP before substations that are only admissions, on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry

from config.messages import ChargeRequest, SubstationCharge
from config.problems import Problem
from config.settings import BalancerSettings, SubstationSettings
from monitoring.metrics import BalancerMetrics
from services.balancer.attendant import Attendant
from services.balancer.book import Book, Entry
from services.balancer.dispatch import Dispatch
from services.balancer.doubts import Doubts
from services.balancer.journal import BalancerJournal
from services.balancer.ledger import Ledger
from services.balancer.line import Answer, Ended, Page, Result, Silent
from services.balancer.placement import Placer
from services.balancer.queue import Queue
from services.balancer.recovery import Recovery
from services.balancer.revocations import Revocations
from services.balancer.targets import Target
from services.clock import FakeClock
from services.routing.policies import POLICIES
from services.substation.admission import Admission, Started


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

    async def cancel(self, target: Target, request_id: str, timeout_s: float) -> Ended:
        core = self.cores[target.name]
        session = core.revoke(request_id, None, self.clock.grid_s(), "cancelled")
        return None if session is None else {"state": session.state}, core.report(self.clock.grid_s())

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
    recovery = Recovery(journal, lambda _: None, _nothing, asyncio.Event(), lambda: None)
    recovery.ready.set()
    return recovery


class Desk:
    """A balancer without HTTP before `world`."""

    def __init__(
        self, world: World, policy: str, seed: int, journal: BalancerJournal | None = None, **settings: Any
    ) -> None:
        self.world = world
        self.journal = journal or BalancerJournal(None, "process", world.clock.time_s)
        now_s = world.clock.monotonic_s
        self.ledger = Ledger(7_400)
        self.ledger.update(Target(name, f"http://{name}") for name in world.cores)
        for account in self.ledger:
            account.fold(world.cores[account.target.name].report(0.0), now_s(), now_s())
        self.revocations = Revocations(world, self.ledger, now_s, retry_s=0.0, journal=self.journal)
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
            doubts=Doubts(self.journal),
        )
        chosen = BalancerSettings(policy=policy, **settings)
        clock = world.clock
        self.queue = Queue(chosen.queue_limit)
        self.attendant = Attendant(chosen, self.queue, self.placer, self.journal, self._placed, clock.time_s)
        self.dispatch = Dispatch(chosen, self.placer, recovered(), self.attendant, clock.time_s)

    def _placed(self, entry: Entry) -> None:
        self.dispatch.remember(entry)

    async def ask(self, request_id: str, within_s: float = 1e4, **fields: Any) -> dict[str, Any] | Problem:
        fields = {"ev_id": request_id, "request_id": request_id, "duration_s": 1e8, **fields}
        request = ChargeRequest(**fields)
        return await self.dispatch.answer(request, self.world.clock.monotonic_s() + within_s)
