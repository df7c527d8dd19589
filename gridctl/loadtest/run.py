"""One load test from its first request to its result. Must not know flags, or how the result is shown."""

from __future__ import annotations

import asyncio
import resource
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import aiohttp

from config.errors import GridError
from gridctl.loadtest import placement, target
from gridctl.loadtest.arrivals import Identity
from gridctl.loadtest.client import HttpClient
from gridctl.loadtest.engine import Engine, Report
from gridctl.loadtest.progress import Progress
from gridctl.loadtest.result import Result
from gridctl.loadtest.scenario import Scenario
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

    `again` answers the target as it is after the run, for substations that came meanwhile.
    """

    scenario: Scenario
    target: Target
    seed: int
    timeout_s: float
    again: Callable[[], Target]


def identity() -> Identity:
    """Ids that no other run has: never seeded, or a second run would only repeat the answers of the first."""
    return Identity(secrets.token_hex(4), secrets.randbelow(900_000) * 1000 + 1000)


async def run(setup: Setup, progress: Progress, report: Report) -> Result:
    """Send the scenario, gather the records, work out the result.

    The first SIGINT ends the sending early, the second raises KeyboardInterrupt.
    """
    tally = Tally()
    ids = identity()
    async with _http() as http:
        engine = Engine(HttpClient(http, setup.target.url, setup.timeout_s), tally, report)
        start_s = time.time()
        with _interruptible(engine, progress):
            ticker = asyncio.create_task(_tick(progress, tally))
            try:
                duration_s = await engine.run(ids.orders(setup.scenario.arrivals()))
            finally:
                ticker.cancel()
                progress.close()
            return await _result(setup, http, engine, tally, (start_s, duration_s, ids.prefix))


def _http() -> aiohttp.ClientSession:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = SOCKETS if soft == resource.RLIM_INFINITY else max(1, min(SOCKETS, soft - _OTHER_FILES))
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit),
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


async def _result(
    setup: Setup, http: aiohttp.ClientSession, engine: Engine, tally: Tally, run: tuple[float, float, str]
) -> Result:
    start_s, duration_s, prefix = run
    now_s = time.time()
    whole = await asyncio.to_thread(_afterwards, setup)
    records = await target.records(http, whole, start_s, tally.per_substation, prefix, now_s)
    figures = None
    if records.sessions and not records.missing:
        limits = {name: whole.limits[name] for name in records.sessions}
        figures = placement.measure(records.sessions, limits, start_s, start_s + duration_s, now_s)
    return Result(
        tally=tally,
        figures=figures,
        erlang_b=_erlang_b(setup, whole, records, prefix),
        names=whole.names,
        missing=records.missing,
        unmeasured=tuple(name for name in whole.names if name not in whole.substations),
        duration_s=duration_s,
        interrupted=engine.interrupted,
        seed=setup.seed,
    )


def _afterwards(setup: Setup) -> Target:
    with suppress(GridError):  # the cluster went down meanwhile: what it was before the run still holds
        return target.merged(setup.target, setup.again())
    return setup.target


def _erlang_b(setup: Setup, whole: Target, records: target.Records, prefix: str) -> float | None:
    """None also where some substation does not tell its limits, or lost its records."""
    if records.missing or any(name not in whole.limits for name in whole.names):
        return None
    own = {
        name: [session for session in sessions if session.request_id.startswith(prefix)]
        for name, sessions in records.sessions.items()
    }
    return placement.nominal_blocking(setup.scenario.rate_per_s, own, whole.limits)
