"""A balancer without HTTP before substations that are only admissions, on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry

from config.messages import ChargeRequest, SubstationCharge
from config.problems import Problem
from config.report import Report
from config.settings import BalancerSettings, SubstationSettings
from monitoring.metrics import BalancerMetrics
from services.balancer.attendant import Attendant
from services.balancer.book import Book, Entry
from services.balancer.directory import Introduction
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
    """Substations that are only admissions, behind a line on which each attempt meets the next of `fates`.

    `limits` hold for each substation; `ahead_s` is by how many seconds the clock of one is wrong.
    """

    def __init__(
        self, places: list[int], fates: Iterator[str], revocations: Iterator[str] | None = None, **limits: Any
    ) -> None:
        self.clock = FakeClock()
        self.ahead_s: defaultdict[str, float] = defaultdict(float)
        self.cores = {
            f"s{number}": Admission(SubstationSettings(name=f"s{number}", max_sessions=most, **limits), number + 1)
            for number, most in enumerate(places)
        }
        self._fates = fates
        self._revocations = fates if revocations is None else revocations

    def time_s(self, name: str) -> float:
        """What the clock of a substation says."""
        return self.clock.grid_s() + self.ahead_s[name]

    def report(self, name: str) -> Report:
        return self.cores[name].report(self.time_s(name))

    def is_up(self, name: str) -> bool:
        """Whether it can be reached."""
        return name in self.cores

    def vacant(self) -> set[str]:
        """Who has room for one session more, by its own count, and can be reached."""
        for name, core in self.cores.items():
            core.advance(self.time_s(name))
        return {name for name, core in self.cores.items() if core.sessions < core.max_sessions and self.is_up(name)}

    def fate(self, name: str) -> str:
        return next(self._fates)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def charge(self, target: Target, request_id: str, body: bytes, timeout_s: float) -> Answer:
        fate = self.fate(target.name)
        await asyncio.sleep(0)
        if fate == "unreachable":
            self.clock.jump(0.001)
            return Answer(Result.UNREACHABLE)
        core = self.cores[target.name]
        if fate == "closed":
            return Answer(Result.CLOSED, self.report(target.name))
        if fate != "lost":
            outcome = core.admit(SubstationCharge.model_validate_json(body), request_id, self.time_s(target.name))
        if fate != "ok":
            self.clock.jump(timeout_s)
            return Answer(Result.UNKNOWN)
        report = self.report(target.name)
        await asyncio.sleep(0)
        if isinstance(outcome, Started):
            return Answer(Result.ACCEPTED, report, {"ends_in_s": outcome.session.ends_s - self.time_s(target.name)})
        known = {"revoked": Result.REVOKED, "substation-full": Result.FULL}
        wait_s = {} if outcome.retry_after_s is None else {"retry_after_s": outcome.retry_after_s}
        return Answer(known[outcome.reason], report, wait_s)

    async def revoke(self, target: Target, request_id: str, attempt: int, timeout_s: float) -> None:
        if next(self._revocations) in {"lost", "unreachable"}:
            raise Silent("lost")
        self.cores[target.name].revoke(request_id, attempt, self.time_s(target.name))

    async def introduce(self, url: str, timeout_s: float) -> Introduction:
        raise Silent("nobody asks")

    def identify(self, incarnation: int) -> None: ...

    async def fence(self, target: Target, url: str, incarnation: int, timeout_s: float) -> None: ...

    async def page(self, target: Target, timeout_s: float) -> Page:
        return Page(self.report(target.name), "")

    async def sessions(self, target: Target, since_s: float, timeout_s: float) -> dict[str, Any]:
        return {}

    async def cancel(self, target: Target, request_id: str, timeout_s: float) -> Ended:
        core = self.cores[target.name]
        session = core.revoke(request_id, None, self.time_s(target.name), "cancelled")
        return None if session is None else {"state": session.state}, self.report(target.name)

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
    recovery = Recovery(journal, lambda _: None, _nothing, asyncio.Event(), _nothing, lambda: None)
    recovery.ready.set()
    return recovery


class Desk:
    """A balancer without HTTP before `world`."""

    def __init__(
        self,
        world: World,
        policy: str,
        seed: int,
        journal: BalancerJournal | None = None,
        pushes: bool = False,
        **settings: Any,
    ) -> None:
        self.world = world
        self.journal = journal or BalancerJournal(None, "process", world.clock.time_s)
        now_s = world.clock.monotonic_s
        self.ledger = Ledger(7_400, pushes=pushes)
        self.ledger.update(Target(name, f"http://{name}") for name in world.cores)
        for account in self.ledger:
            account.fold(world.report(account.target.name), now_s(), now_s())
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
