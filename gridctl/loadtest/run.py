"""One load test from its first request to its result. Must not know flags, or how the result is shown."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from random import Random

from gridctl.loadtest.arrivals import Identity, Order
from gridctl.loadtest.asked import Roll
from gridctl.loadtest.client import Outcome
from gridctl.loadtest.engine import Engine, Report
from gridctl.loadtest.http import SOCKETS, HttpClient
from gridctl.loadtest.measured import Measured
from gridctl.loadtest.progress import Progress
from gridctl.loadtest.result import Result
from gridctl.loadtest.setup import Setup, identity
from gridctl.loadtest.slowest import Slowest
from gridctl.loadtest.tally import Tally
from gridctl.loadtest.target import unread

STOPPING = "stopping: waiting a moment for what is in flight (Ctrl-C again leaves at once)"
#: Files that a process has open beside its sockets.
_OTHER_FILES = 64


async def run(setup: Setup, progress: Progress, report: Report) -> Result:
    """Send the scenario, gather the records, work out the result.

    The first SIGINT ends the sending early, the second raises KeyboardInterrupt.
    """
    ids = identity()
    async with AsyncExitStack() as stack:
        cluster = None
        if setup.target.cluster:
            from gridctl.loadtest.measuring import Cluster, Seen  # noqa: PLC0415 - aiohttp, journals: not for a URL

            cluster = await stack.enter_async_context(Cluster(setup))
        sender = Sender(setup, ids, report)
        start_s = time.time()
        with _interruptible(sender.engine, progress):
            await sender.send(progress)
            asked = sender.roll.asked
            if cluster is None:
                measured = Measured.without_records(unread(setup.target, sender.tally.per_substation))
            else:
                accepted = sender.tally.per_substation
                measured = await cluster.measure(Seen(start_s, sender.duration_s, ids.prefix, asked, accepted))
    return Result(
        tally=sender.tally,
        figures=measured.figures,
        ideal=measured.ideal,
        names=measured.names,
        missing=measured.missing,
        unmeasured=measured.unmeasured,
        duration_s=sender.duration_s,
        interrupted=sender.engine.interrupted,
        seed=setup.seed,
        avoidable=measured.avoidable,
        attempts=measured.attempts,
        unknown=measured.unknown,
        asked=asked,
        slowest=sender.slowest.to_json(),
    )


class Sender:
    """Sends the scenario and keeps what came of it."""

    def __init__(self, setup: Setup, ids: Identity, report: Report) -> None:
        self.tally, self.roll, self.slowest = Tally(), Roll(), Slowest()
        self.duration_s = 0.0
        headers = None if setup.token is None else setup.token.header()
        self._client = HttpClient(setup.target.url, setup.timeout_s, headers, _sockets())
        self._orders = ids.orders(setup.scenario.arrivals(), Random(f"traces {setup.seed}"))
        self._report = report
        self.engine = Engine(self._client, self.tally, self._note)

    async def send(self, progress: Progress) -> None:
        """All of it, showing how far it is."""
        ticker = asyncio.create_task(_tick(progress, self.tally))
        try:
            with self._client:
                self.duration_s = await self.engine.run(self._orders)
        finally:
            ticker.cancel()
            progress.close()

    def _note(self, order: Order, outcome: Outcome, latency_s: float) -> None:
        self.roll.note(order, outcome)
        self.slowest.note(order, latency_s)
        self._report(order, outcome, latency_s)


def _sockets() -> int:
    """How many files may be open bounds them, too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return SOCKETS if soft == resource.RLIM_INFINITY else max(1, min(SOCKETS, soft - _OTHER_FILES))


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
