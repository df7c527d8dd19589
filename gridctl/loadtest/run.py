"""One load test from its first request to its result. Must not know flags, or how the result is shown."""

from __future__ import annotations

import asyncio
import resource
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import Random

import aiohttp

from config.access import Token
from config.errors import GridError
from gridctl.audit.records import gather
from gridctl.loadtest import counters, ideal, placement, rejections, target
from gridctl.loadtest.arrivals import Identity, Order
from gridctl.loadtest.asked import Asked, Roll
from gridctl.loadtest.client import HttpClient, Outcome
from gridctl.loadtest.engine import Engine, Report
from gridctl.loadtest.ideal import Ideal, Run
from gridctl.loadtest.progress import Progress
from gridctl.loadtest.result import NO_RECORDS, Result
from gridctl.loadtest.scenario import Scenario
from gridctl.loadtest.slowest import Slowest
from gridctl.loadtest.tally import Tally
from gridctl.loadtest.target import Target

#: Sockets to the server at most; requests beyond wait for one, and that counts in their latency.
SOCKETS = 1000
STOPPING = "stopping: waiting a moment for what is in flight (Ctrl-C again leaves at once)"
#: Files that a process has open beside its sockets.
_OTHER_FILES = 64


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run needs: `timeout_s` is how long each client waits (wall seconds).

    `again` answers the target as it is after the run, for substations that came meanwhile. Each request brings `token`.
    """

    scenario: Scenario
    target: Target
    seed: int
    timeout_s: float
    again: Callable[[], Target]
    token: Token | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a run leaves: when it began (Unix) and how long it was, its ids, who asked, what balancers had counted, and who
    waited longest."""

    start_s: float
    duration_s: float
    prefix: str
    asked: Sequence[Asked]
    counted: counters.Reading
    slowest: Slowest


@dataclass(frozen=True, slots=True)
class _Measured:
    """The figures that need records, and why the number of avoidable refusals is None."""

    figures: placement.Figures | None
    ideal: Ideal
    avoidable: int | None
    why_avoidable: str


def identity() -> Identity:
    """Ids that no other run has: never seeded, or a second run would only repeat the answers of the first."""
    return Identity(secrets.token_hex(4), secrets.randbelow(900_000) * 1000 + 1000)


async def run(setup: Setup, progress: Progress, report: Report) -> Result:
    """Send the scenario, gather the records, work out the result.

    The first SIGINT ends the sending early, the second raises KeyboardInterrupt.
    """
    tally = Tally()
    ids = identity()
    roll, slowest = Roll(), Slowest()

    def note(order: Order, outcome: Outcome, latency_s: float) -> None:
        roll.note(order, outcome)
        slowest.note(order, latency_s)
        report(order, outcome, latency_s)

    async with _http(setup.token) as http:
        engine = Engine(HttpClient(http, setup.target.url, setup.timeout_s), tally, note)
        counted = await counters.read(http, setup.target.balancers)
        start_s = time.time()
        with _interruptible(engine, progress):
            ticker = asyncio.create_task(_tick(progress, tally))
            try:
                duration_s = await engine.run(ids.orders(setup.scenario.arrivals(), Random(f"traces {setup.seed}")))
            finally:
                ticker.cancel()
                progress.close()
            seen = _Seen(start_s, duration_s, ids.prefix, roll.asked, counted, slowest)
            return await _result(setup, http, engine, tally, seen)


def _http(token: Token | None) -> aiohttp.ClientSession:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = SOCKETS if soft == resource.RLIM_INFINITY else max(1, min(SOCKETS, soft - _OTHER_FILES))
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit),
        headers=None if token is None else token.header(),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
    )


@contextmanager
def _interruptible(engine: Engine, progress: Progress) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()

    def interrupt() -> None:
        if engine.interrupted and main is not None:
            main.cancel()
        engine.interrupt()
        progress.say(STOPPING)

    try:
        loop.add_signal_handler(signal.SIGINT, interrupt)
    except (ValueError, RuntimeError):  # not the main thread: nobody presses Ctrl-C there
        yield
        return
    try:
        yield
    except asyncio.CancelledError as cancelled:
        raise KeyboardInterrupt from cancelled
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def _tick(progress: Progress, tally: Tally) -> None:
    clock = asyncio.get_running_loop().time
    start_s = clock()
    while True:
        progress.show(tally, clock() - start_s)
        await asyncio.sleep(progress.every_s)


async def _result(setup: Setup, http: aiohttp.ClientSession, engine: Engine, tally: Tally, seen: _Seen) -> Result:
    now_s = time.time()
    whole = await asyncio.to_thread(_afterwards, setup)
    records = await target.records(http, whole, seen.start_s, tally.per_substation, seen.prefix, now_s)
    attempts, why = counters.attempts_per_request(seen.counted, await counters.read(http, whole.balancers))
    measured = await asyncio.to_thread(_measured, setup, whole, records, seen)
    return Result(
        tally=tally,
        figures=measured.figures,
        ideal=measured.ideal,
        names=whole.names,
        missing=records.missing,
        unmeasured=tuple(name for name in whole.names if name not in whole.substations),
        duration_s=seen.duration_s,
        interrupted=engine.interrupted,
        seed=setup.seed,
        avoidable=measured.avoidable,
        attempts=attempts,
        unknown={"avoidable_rejections": measured.why_avoidable, "attempts_per_request": why},
        asked=seen.asked,
        slowest=seen.slowest.to_json(),
    )


def _measured(setup: Setup, whole: Target, records: target.Records, seen: _Seen) -> _Measured:
    """All figures that need records: none where those are not complete.

    Where limits changed meanwhile, nothing is called an overload that one of them allowed, nor avoidable that one forbade.
    """
    if not records.sessions or records.missing:
        named = "; ".join(f"{name}: {reason}" for name, reason in sorted(records.missing.items()))
        return _Measured(None, ideal.nothing(named or NO_RECORDS), None, named or NO_RECORDS)
    limits = {name: whole.limits[name] for name in records.sessions}
    before = {**limits, **setup.target.limits}
    wider = {name: own.wider(before[name]) for name, own in limits.items()}
    sent_s = seen.start_s + seen.duration_s
    figures = placement.measure(records.sessions, wider, seen.start_s, sent_s, records.until_s)
    run = Run(
        asked=seen.asked,
        records=records.sessions,
        limits={name: own.narrower(before[name]) for name, own in limits.items()},
        start_s=seen.start_s,
        sent_s=sent_s,
        now_s=records.until_s,
        rate_per_s=setup.scenario.rate_per_s,
        time_scale=whole.time_scale,
    )
    evidence = None if whole.paths is None else gather(whole.paths, (), (), seen.start_s).evidence
    avoidable, why = rejections.avoidable(run, evidence)
    unmeasured = ", ".join(name for name in whole.names if name not in records.sessions)
    unclear = f"{unmeasured}: without records" if unmeasured else rejections.limits_changed(run, evidence)
    return _Measured(figures, ideal.nothing(unclear) if unclear else ideal.measure(run), avoidable, why)


def _afterwards(setup: Setup) -> Target:
    with suppress(GridError):  # the cluster went down meanwhile: what it was before the run still holds
        return target.merged(setup.target, setup.again())
    return setup.target
