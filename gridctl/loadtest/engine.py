"""Sends orders at their intended times and never waits for an answer before the next one: an open loop.

Latency counts from the intended time, so that neither a stalled server nor a late load tester hides what a client would
have waited ("coordinated omission", Gil Tene). Must not know pacing, HTTP, clusters or the terminal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial

from gridctl.loadtest.arrivals import Order
from gridctl.loadtest.client import Client, Outcome
from gridctl.loadtest.tally import Tally

#: How long after an interruption answers are still waited for (wall seconds); a second one does not wait.
GRACE_S = 5.0
#: A load tester that is late goes on to answers after this many orders.
YIELD_EVERY = 16
#: An order goes out so early at most (wall seconds): the event loop's timers keep whole milliseconds.
EARLY_S = 0.0005

#: Told each order, its outcome, and the latency (wall seconds from its intended moment).
Report = Callable[[Order, Outcome, float], object]


class Engine:
    """One run of orders through `client`, counted in `tally`; `report` is told every outcome.

    One timer for the next order, and no task for any of them. `clock` is monotonic seconds; not the event loop's own, which
    uvloop keeps in whole milliseconds.
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
        self._orders: Iterator[Order] = iter(())
        self._next: Order | None = None
        self._start_s = 0.0
        self._number = 0
        self._out: dict[int, tuple[Order, float]] = {}
        self._over: asyncio.Future[None] | None = None
        self._timer: asyncio.Handle | None = None
        self._failure: Exception | None = None
        self.interrupted = False

    @property
    def in_flight(self) -> int:
        """Orders that are out and not answered."""
        return len(self._out)

    def interrupt(self) -> None:
        """Send nothing more, and wait for what is in flight only for the grace period."""
        if not self.interrupted:
            self.interrupted = True
            self._stop()

    async def run(self, orders: Iterator[Order], start_s: float | None = None) -> float:
        """Send all of `orders` (in order of time), wait for the answers; the seconds from the start to the last one.

        The start is `start_s` on the clock, or now. What `report` raises ends the run and is raised again.
        """
        self._start_s = self._clock() if start_s is None else start_s
        self._over = asyncio.get_running_loop().create_future()
        if not self.interrupted:
            self._orders = orders
            self._next = next(orders, None)
        self._send_due()
        try:
            await self._over
        finally:
            self._out.clear()
            self._rest()
        if self._failure is not None:
            raise self._failure
        return self._clock() - self._start_s

    def _send_due(self) -> None:
        """Send whatever is due, and come again when the next one is; when late, let answers in now and then."""
        self._timer = None
        loop = asyncio.get_running_loop()
        last = self._number + YIELD_EVERY
        while (order := self._next) is not None:
            due_s = self._start_s + order.at_s
            now_s = self._clock()
            if due_s - now_s > EARLY_S:
                self._timer = loop.call_later(due_s - now_s, self._send_due)
                return
            if self._number == last:
                self._timer = loop.call_soon(self._send_due)
                return
            self._send(order, due_s, now_s)
            if self._next is not None:  # not stopped meanwhile
                self._next = next(self._orders, None)
        self._look()

    def _send(self, order: Order, due_s: float, now_s: float) -> None:
        self._number += 1
        self._tally.note_sent(now_s - due_s)
        self._out[self._number] = (order, min(due_s, now_s))
        self._client.send(order, partial(self._answered, self._number))

    def _answered(self, number: int, outcome: Outcome) -> None:
        order, since_s = self._out.pop(number, (None, 0.0))
        if order is not None:  # else it was given up
            self._note(order, since_s, outcome)
        if not self._out and self._next is None:
            self._look()

    def _note(self, order: Order, since_s: float, outcome: Outcome) -> None:
        """Only `report` can raise (nobody reads what it prints any more): then there is no use in going on."""
        latency_s = self._clock() - since_s
        self._tally.note(outcome, latency_s)
        try:
            self._report(order, outcome, latency_s)
        except Exception as failure:  # noqa: BLE001 - it is raised again, by `run`
            self._failure = failure
            self._stop()

    def _stop(self) -> None:
        """Send no more; give up in a while what is in flight."""
        self._next = None
        self._rest()
        if self._over is not None and not self._over.done():
            self._timer = asyncio.get_running_loop().call_later(self._grace_s, self._give_up)
            self._look()

    def _give_up(self) -> None:
        left = list(self._out.values())
        self._out.clear()
        for order, since_s in left:
            self._note(order, since_s, Outcome("failed", "not answered when the run was interrupted"))
        self._look()

    def _look(self) -> None:
        """All is over when nothing is to be sent and nothing is out."""
        if self._next is None and not self._out and self._over is not None and not self._over.done():
            self._over.set_result(None)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
