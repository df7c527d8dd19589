"""Serves the queue: takes requests in, gives each freed place to the head that fits, drops whom time has left behind.

A head that fits nowhere now keeps one substation for itself, that where it will fit first by planned ends; those behind it
may pass it at all others (EASY backfilling: Lifka, "The ANL/IBM SP scheduling system", 1995). So small requests use what a
large one cannot, and no head waits for longer than what runs at one substation needs to end. Must not know HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from random import Random

from config.messages import ChargeRequest
from config.problems import Problem
from config.settings import BalancerSettings
from services.balancer import refusals
from services.balancer.book import Entry
from services.balancer.journal import BalancerJournal, Queued
from services.balancer.order import Order
from services.balancer.placement import Placer
from services.balancer.queue import Gone, Left, Queue, Waiting
from services.balancer.reservation import Reservation
from services.journal import JournalError
from services.routing.policies import LeastLoaded

#: So many from the head on are looked at when a place is free; a queue of more kinds than that is served in turn.
LOOKED_AT = 256
#: So many are placed at a time.
MOST_PLACING = 64
#: After a failure a request is tried again after this, doubled up to the cap; after a time without any they count no more
#: (wall seconds).
PAUSE_S = 0.025
LONGEST_PAUSE_S = 1.0
FORGIVEN_S = 5.0
#: Changes within this (wall seconds) are looked at together.
SHORTEST_WAIT_S = 0.001
#: What placements need at most to end when the service stops (wall seconds).
STOP_S = 1.0

_log = logging.getLogger(__name__)


class Attendant:
    """The queue of one balancer, served by one task. `placed` is told of each request that got its place.

    `unix_s` is Unix time; `settings.admission` says whether requests are taken in at all: what is in is served anyway.
    """

    def __init__(
        self,
        settings: BalancerSettings,
        queue: Queue,
        placer: Placer,
        journal: BalancerJournal,
        placed: Callable[[Entry], None],
        unix_s: Callable[[], float],
    ) -> None:
        self.queue = queue
        self._settings = settings
        self._placer = placer
        self._ledger = placer.ledger
        self._journal = journal
        self._placed = placed
        self._unix_s = unix_s
        self._now_s = placer.now_s
        self._least_loaded = LeastLoaded()
        self._rng = Random(0)
        self._kept = Reservation(placer.ledger)
        self._looked_at_s = -math.inf
        self._woken = asyncio.Event()
        self._looked: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def admits(self) -> bool:
        """Whether requests may wait here."""
        return self._settings.admission == "queue"

    # -- coming in ----------------------------------------------------------------------------------------------------
    def restore(self, rows: Iterable[Queued]) -> None:
        """Takes over what the journal holds of a former run's queue."""
        offset_s = self._now_s() - self._unix_s()
        for row in rows:
            if row.state == "queued":
                request = ChargeRequest.model_validate_json(row.request)
                self.queue.add(self._waiting(request, row.number, row.queued_s + offset_s, row.until_s + offset_s))
            elif row.state != "placed" and row.state != "moved":  # noqa: PLR1714  mypy narrows by each
                self.queue.remember(row.request_id, Left(row.ev_id, row.state, row.reason))
            self.queue.numbers = max(self.queue.numbers, row.number)

    async def take(self, request: ChargeRequest, arrived_at_s: float) -> Waiting | Problem:
        """`request`, which has an id and came at `arrived_at_s`, in the queue; or why not. Journaled when this returns."""
        if len(self.queue) >= self.queue.limit:
            return refusals.queue_full(self.queue.limit)
        patience_s = self._settings.max_wait_s if request.departure_in_s is None else request.departure_in_s
        until_at_s = arrived_at_s + patience_s / self._settings.time_scale
        waiting = self._waiting(request, self.queue.next_number(), arrived_at_s, until_at_s)
        offset_s = self._unix_s() - self._now_s()
        text = request.model_dump_json(exclude_none=True)
        row = Queued(
            waiting.request_id, waiting.ev_id, waiting.number, text, arrived_at_s + offset_s, until_at_s + offset_s
        )
        try:
            await self._journal.queued(row)
        except JournalError as error:
            return refusals.unwritten(error)
        self.queue.add(waiting)
        return waiting

    def _waiting(self, request: ChargeRequest, number: int, queued_at_s: float, until_at_s: float) -> Waiting:
        order = self._order(request, 0.0)
        return Waiting(request, order.request_id, number, queued_at_s, until_at_s, order.power_w, order.least_w)

    def _order(self, request: ChargeRequest, deadline_s: float) -> Order:
        settings, request_id = self._settings, str(request.request_id)
        return Order.of(request, request_id, deadline_s, settings.power_kw, settings.session_s, careful=True)

    # -- being served -------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Begins to serve."""
        self._ledger.on_change = self.wake
        self._task = asyncio.ensure_future(self._serve())

    def wake(self) -> None:
        """Something changed: a place may be free."""
        if len(self.queue):
            self._woken.set()

    async def looked(self) -> None:
        """Until everybody who waits now was looked at."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._looked.append(future)
        self._woken.set()
        await future

    async def stop(self) -> None:
        """Ends serving; placements that go on get a moment, what they do not end is journaled."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        placing = [waiting.placing for waiting in self.queue if waiting.placing is not None]
        if placing:
            await asyncio.wait(placing, timeout=STOP_S)
        for each in placing:
            each.cancel()
        await asyncio.gather(*placing, return_exceptions=True)

    async def _serve(self) -> None:
        while True:
            self._woken.clear()
            looked, self._looked = self._looked, []
            await self.look()
            for future in looked:
                if not future.done():
                    future.set_result(None)
            # not wait_for: until Python 3.12 that forgets a cancellation which comes together with what it waits for
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.pause_s()):
                    await self._woken.wait()

    async def look(self) -> None:
        """Drops whose time is over, and begins to place all for whom there is room."""
        self._drop()
        await self._give()

    def pause_s(self) -> float | None:
        """Wall seconds until something changes by itself; None where nothing does."""
        first = self.queue.first()
        if first is None:
            return None
        # from the last look on: what came due since it began was not seen by it, and nothing else may wake this queue
        last_s = self._looked_at_s
        retries = (waiting.retry_at_s for waiting in islice(self.queue, LOOKED_AT) if waiting.retry_at_s > last_s)
        until_s = math.inf if first.placing else first.until_at_s
        due_s = min(until_s, self._ledger.due_s, min(retries, default=math.inf))
        return None if due_s == math.inf else max(SHORTEST_WAIT_S, due_s - self._now_s())

    def _drop(self) -> None:
        """Drops those whose time is over, unless they are just being placed."""
        now_s = self._now_s()
        over = [waiting for waiting in self.queue if waiting.until_at_s <= now_s] if self._is_late(now_s) else []
        for waiting in over:
            if waiting.placing is None:
                self.leave(waiting, "dropped", waiting.reason)

    def _is_late(self, now_s: float) -> bool:
        first = self.queue.first()
        return first is not None and first.until_at_s <= now_s

    async def _give(self) -> None:
        """Begins to place all for whom there is room by estimate, the head first."""
        now_s, too_large_w, owed = self._now_s(), math.inf, False
        self._looked_at_s = now_s
        self._ledger.advance(now_s)
        placing = sum(waiting.placing is not None for waiting in islice(self.queue, LOOKED_AT))
        for waiting in list(islice(self.queue, LOOKED_AT)):
            if waiting.cancelled or self.queue.find(waiting.request_id) is not waiting:
                continue  # while others were looked at, it may have got its place
            ready = waiting.placing is None and waiting.retry_at_s <= now_s and waiting.power_w < too_large_w
            if ready and placing >= MOST_PLACING:
                return
            goes = ready and self._has_room(waiting, now_s)
            if not owed and self._is_owed(waiting, goes):
                owed = True
                self._kept.keep(waiting, now_s)
            if goes:
                waiting.placing = waiting.context.run(asyncio.ensure_future, self._place(waiting))
                placing += 1
                await asyncio.sleep(0)  # it takes its place in the ledger before the next one looks
            elif ready:
                too_large_w = waiting.power_w

    def _is_owed(self, waiting: Waiting, goes: bool) -> bool:
        """Whether nobody behind `waiting` may take what it waits for: it was or is passed, or was refused before."""
        blocked = waiting.placing is None and not goes
        return blocked or waiting.failures > 0 or waiting is self._kept.holder

    def _has_room(self, waiting: Waiting, now_s: float) -> bool:
        power_w, barred = waiting.power_w, self._kept.barred(waiting)
        node = self._ledger.pick(self._least_loaded, power_w, waiting.least_w, now_s, barred, self._rng)
        return node is not None and node.fits(power_w)

    async def _place(self, waiting: Waiting) -> None:
        now_s = self._now_s()
        request = waiting.request
        if request.departure_in_s is not None:
            remaining_s = (waiting.until_at_s - now_s) * self._settings.time_scale
            request = request.model_copy(update={"departure_in_s": max(0.001, remaining_s)})
        order = self._order(request, now_s + self._settings.request_timeout_s)
        try:
            outcome = await self._placer.place(order, partial(self._kept.barred, waiting))
        finally:
            waiting.placing = None
        if isinstance(outcome, Entry):
            self.admit(waiting, outcome)
        elif waiting.cancelled:
            self.leave(waiting, "cancelled", None)
        elif outcome.status == 409:
            self.leave(waiting, "dropped", outcome.reason)
        else:
            self._fail(waiting, outcome)
        self.wake()

    def _fail(self, waiting: Waiting, outcome: Problem) -> None:
        now_s = self._now_s()
        waiting.failures = 1 if now_s - waiting.retry_at_s > FORGIVEN_S else waiting.failures + 1
        pause_s = min(LONGEST_PAUSE_S, PAUSE_S * 2 ** min(waiting.failures, 10))
        if outcome.reason == "grid-full" and outcome.retry_after_s is not None:
            pause_s = min(pause_s, max(SHORTEST_WAIT_S, outcome.retry_after_s))  # it was asked a moment too early
        waiting.retry_at_s = now_s + pause_s
        extra = {"request_id": waiting.request_id, "reason": outcome.reason, "failures": waiting.failures}
        _log.info("waits on", extra=extra)

    async def survive(self) -> None:
        """Until what was done to the queue is journaled; JournalError where it cannot be, though it is kept for later."""
        await self._journal.survives()

    # -- leaving ------------------------------------------------------------------------------------------------------
    def admit(self, waiting: Waiting, entry: Entry) -> None:
        """`waiting` has its place, by `entry`."""
        self._remove(waiting)
        self._journal.left(waiting.request_id, "placed", at=(entry.substation, entry.attempt))
        waited_s = max(0.0, self._now_s() - waiting.queued_at_s) * self._settings.time_scale
        self._placer.metrics.queue_wait_s.observe(waited_s)
        self._placed(entry)

    def leave(self, waiting: Waiting, state: Gone, reason: str | None) -> None:
        """`waiting` goes without a place, and that is remembered."""
        self._remove(waiting)
        if state != "moved":
            self.queue.remember(waiting.request_id, Left(waiting.ev_id, state, reason))
        self._journal.left(waiting.request_id, state, reason)
        if state == "dropped" and reason is not None:
            self._placer.metrics.queue_drops.labels(reason).inc()
        _log.info(state, extra={"request_id": waiting.request_id, "ev_id": waiting.ev_id, "reason": reason})
        self.wake()

    def _remove(self, waiting: Waiting) -> None:
        self.queue.remove(waiting)
        self._kept.release(waiting)

    def eta_s(self, waiting: Waiting) -> float | None:
        """Wall seconds until it charges, by planned ends; None where they do not tell."""
        length_s = self._settings.session_s / self._settings.time_scale
        return self._ledger.eta_s(self.queue.position(waiting), waiting.power_w, length_s, self._now_s())
