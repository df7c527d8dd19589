"""One load test from its first request to its result. Must not know flags, or how the result is shown."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Protocol

from gridctl.loadtest.loader import Loader
from gridctl.loadtest.measured import Measured
from gridctl.loadtest.progress import Progress
from gridctl.loadtest.result import Result
from gridctl.loadtest.sending import Account
from gridctl.loadtest.setup import Setup
from gridctl.loadtest.tally import Tally
from gridctl.loadtest.target import unread

STOPPING = "stopping: waiting a moment for what is in flight (Ctrl-C again leaves at once)"


class Sending(Protocol):
    """Who sends the scenario: this process, or workers."""

    @property
    def tally(self) -> Tally:
        """What is known so far."""
        ...

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt` was called."""
        ...

    def interrupt(self) -> None:
        """Send nothing more, and wait only a moment for what is in flight."""
        ...

    async def send(self) -> Account:
        """All of it; what came of it."""
        ...


async def run(setup: Setup, progress: Progress, sending: Callable[[], Sending]) -> Result:
    """Send the scenario by whoever `sending` makes in this event loop, gather the records, work out the result.

    The first SIGINT ends the sending early, the second raises KeyboardInterrupt.
    """
    async with AsyncExitStack() as stack:
        cluster = None
        if setup.target.cluster:
            from gridctl.loadtest.measuring import Cluster, Seen  # noqa: PLC0415 - aiohttp, journals: not for a URL

            cluster = await stack.enter_async_context(Cluster(setup))
        sender = sending()
        start_s = time.time()
        with _interruptible(sender, progress):
            account = await _shown(sender, progress)
            if cluster is None:
                measured = Measured.without_records(unread(setup.target, account.tally.per_substation))
            else:
                accepted = account.tally.per_substation
                seen = Seen(start_s, account.duration_s, setup.ids.prefix, account.asked, accepted)
                measured = await cluster.measure(seen)
    return Result(
        tally=account.tally,
        figures=measured.figures,
        ideal=measured.ideal,
        names=measured.names,
        missing=measured.missing,
        unmeasured=measured.unmeasured,
        duration_s=account.duration_s,
        interrupted=account.interrupted,
        seed=setup.seed,
        avoidable=measured.avoidable,
        attempts=measured.attempts,
        unknown=measured.unknown,
        asked=account.asked,
        slowest=account.slowest.to_json(),
        tester=Loader.of(account),
    )


async def _shown(sender: Sending, progress: Progress) -> Account:
    ticker = asyncio.create_task(_tick(progress, sender))
    try:
        return await sender.send()
    finally:
        ticker.cancel()
        progress.close()


@contextmanager
def _interruptible(sender: Sending, progress: Progress) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()

    def interrupt() -> None:
        if sender.interrupted and main is not None:
            main.cancel()
        sender.interrupt()
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


async def _tick(progress: Progress, sender: Sending) -> None:
    clock = asyncio.get_running_loop().time
    start_s = clock()
    while True:
        progress.show(sender.tally, clock() - start_s)
        await asyncio.sleep(progress.every_s)
