"""What the cluster says of a run: its balancers' counters and its substations' records. Must not know how EVs were sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType

import aiohttp

from config.errors import GridError
from gridctl.audit.records import gather
from gridctl.loadtest import counters, ideal, placement, records, rejections, target
from gridctl.loadtest.asked import Asked
from gridctl.loadtest.ideal import Run
from gridctl.loadtest.measured import Measured
from gridctl.loadtest.setup import Setup
from gridctl.loadtest.target import Target


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run leaves: when it began (Unix) and how long it was, its ids, who asked, and what each substation accepted."""

    start_s: float
    duration_s: float
    prefix: str
    asked: Sequence[Asked]
    accepted: Mapping[str, int]


class Cluster:
    """Asks the cluster of `setup`, before the run and after it."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        headers = None if setup.token is None else setup.token.header()
        self._http = aiohttp.ClientSession(headers=headers, cookie_jar=aiohttp.DummyCookieJar())
        self._before: counters.Reading = {}

    async def __aenter__(self) -> Cluster:
        self._before = await counters.read(self._http, self._setup.target.balancers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._http.close()

    async def measure(self, seen: Seen) -> Measured:
        """After the last answer."""
        now_s = time.time()
        whole = await asyncio.to_thread(_afterwards, self._setup)
        kept = await records.read(self._http, whole, seen.start_s, seen.accepted, seen.prefix, now_s)
        attempts, why = counters.attempts_per_request(self._before, await counters.read(self._http, whole.balancers))
        found = await asyncio.to_thread(_measured, self._setup, whole, kept, seen)
        return replace(
            found,
            names=whole.names,
            unmeasured=tuple(name for name in whole.names if name not in whole.substations),
            attempts=attempts,
            unknown={**found.unknown, "attempts_per_request": why},
        )


def _measured(setup: Setup, whole: Target, kept: records.Records, seen: Seen) -> Measured:
    """All figures that need records: none where those are not complete.

    Where limits changed meanwhile, nothing is called an overload that one of them allowed, nor avoidable that one forbade.
    """
    if not kept.sessions or kept.missing:
        return Measured.without_records(kept.missing)
    limits = {name: whole.limits[name] for name in kept.sessions}
    before = {**limits, **setup.target.limits}
    wider = {name: own.wider(before[name]) for name, own in limits.items()}
    sent_s = seen.start_s + seen.duration_s
    figures = placement.measure(kept.sessions, wider, seen.start_s, sent_s, kept.until_s)
    run = Run(
        asked=seen.asked,
        records=kept.sessions,
        limits={name: own.narrower(before[name]) for name, own in limits.items()},
        start_s=seen.start_s,
        sent_s=sent_s,
        now_s=kept.until_s,
        rate_per_s=setup.scenario.rate_per_s,
        time_scale=whole.time_scale,
    )
    evidence = None if whole.paths is None else gather(whole.paths, (), (), seen.start_s).evidence
    avoidable, why = rejections.avoidable(run, evidence)
    unmeasured = ", ".join(name for name in whole.names if name not in kept.sessions)
    unclear = f"{unmeasured}: without records" if unmeasured else rejections.limits_changed(run, evidence)
    best = ideal.nothing(unclear) if unclear else ideal.measure(run)
    return Measured(figures, best, avoidable=avoidable, unknown={"avoidable_rejections": why})


def _afterwards(setup: Setup) -> Target:
    with suppress(GridError):  # the cluster went down meanwhile: what it was before the run still holds
        return target.merged(setup.target, setup.again())
    return setup.target
