"""Sends orders at their intended times and never waits for an answer before the next one: an open loop.

Latency counts from the intended time, so that neither a stalled server nor a late load tester hides what a client would
have waited ("coordinated omission", Gil Tene). Must not know pacing, HTTP, clusters or the terminal.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

from gridctl.loadtest.arrivals import Order
from gridctl.loadtest.client import Client, Outcome
from gridctl.loadtest.tally import Tally

#: How long after an interruption answers are still waited for (wall seconds).
GRACE_S = 2.0
#: A load tester that is late goes on to answers after this many orders.
YIELD_EVERY = 16

#: Told each order, its outcome, and the latency (wall seconds from its intended moment).
Report = Callable[[Order, Outcome, float], object]


class Engine:
    """One run of `orders` through `client`, counted in `tally`; `report` is told every outcome.

    `clock` is monotonic seconds; not the event loop's own, which uvloop keeps in whole milliseconds.
    """

    def __init__(
        self,
        client: Client,
        tally: Tally,
        report: Report = lambda _order, _outcome, _latency_s: None,
        clock: Callable[[], float] = time.monotonic,
        grace_s: float = GRACE_S,
    ) -> None:
        self._client = client
        self._tally = tally
        self._report = report
        self._clock = clock
        self._grace_s = grace_s
        self._stop = asyncio.Event()
        self._waiting: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt` was called."""
        return self._stop.is_set()

    @property
    def in_flight(self) -> int:
        """Orders that are out and not answered."""
        return len(self._waiting)

    def interrupt(self) -> None:
        """Send nothing more, and wait for what is in flight only for the grace period."""
        self._stop.set()

    async def run(self, orders: Iterator[Order]) -> float:
        """Send all of `orders` (in order of time), wait for the answers; the seconds from the start to the last one.

        What `report` raises ends the run and is raised again.
        """
        start_s = self._clock()
        for number, order in enumerate(orders):
            await self._until(start_s + order.at_s, number)
            if self._stop.is_set():
                break
            task = asyncio.create_task(self._send(order, start_s + order.at_s))
            self._waiting.add(task)
            task.add_done_callback(self._ended)
        await self._answers()
        if self._failure is not None:
            raise self._failure
        return self._clock() - start_s

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Only `report` can raise (nobody reads what it prints any more): then there is no use in going on."""
        self._waiting.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failure = failure
            self._stop.set()

    async def _until(self, moment_s: float, number: int) -> None:
        """Wait for the moment, or the interruption; when late already, let answers in now and then."""
        wait_s = moment_s - self._clock()
        if wait_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait_s)
        elif number % YIELD_EVERY == 0:
            await asyncio.sleep(0)

    async def _send(self, order: Order, intended_s: float) -> None:
        self._tally.note_sent(self._clock() - intended_s)
        try:
            outcome = await self._client.send(order)
        except asyncio.CancelledError:
            outcome = Outcome("failed", "not answered when the run was interrupted")
        latency_s = self._clock() - intended_s
        self._tally.note(outcome, latency_s)
        self._report(order, outcome, latency_s)

    async def _answers(self) -> None:
        """Wait until nothing is in flight; after an interruption no longer than the grace period."""
        if self._waiting:
            stop = asyncio.create_task(self._stop.wait())
            answers = asyncio.create_task(asyncio.wait(self._waiting))
            await asyncio.wait({answers, stop}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            answers.cancel()
        if self._waiting:
            _, late = await asyncio.wait(self._waiting, timeout=self._grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
