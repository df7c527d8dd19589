"""What a request is answered: the same answer for the same request, one session an EV. Must not know HTTP."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from config.messages import ChargeRequest
from config.names import new_id
from config.problems import Problem
from config.settings import BalancerSettings
from services.balancer import answers, refusals
from services.balancer.attendant import Attendant
from services.balancer.book import Entry, state_of
from services.balancer.line import Silent
from services.balancer.order import Order
from services.balancer.placement import Placer
from services.balancer.queue import Left, Waiting
from services.balancer.recovery import Recovery
from services.balancer.running import Outcome, Running, Runs

#: More requests than this are not placed at a time.
MOST_IN_FLIGHT = 10_000
#: An EV's other session is asked for no longer than this (wall seconds).
CHECK_TIMEOUT_S = 1.0

_log = logging.getLogger(__name__)


def _always(_: str) -> bool:
    return True


def _nothing(_: Entry) -> None: ...


class Dispatch:
    """Answers requests through `placer`, once `recovery` is ready; `unix_s` is Unix time.

    Only for an `ev_id` that this balancer `owns` anything new is begun; `placed` is told of each session that began.
    """

    def __init__(
        self,
        settings: BalancerSettings,
        placer: Placer,
        recovery: Recovery,
        attendant: Attendant,
        unix_s: Callable[[], float] = time.time,
        owns: Callable[[str], bool] = _always,
        placed: Callable[[Entry], None] = _nothing,
    ) -> None:
        self._settings = settings
        self._placer = placer
        self._book = placer.book
        self._now_s: Callable[[], float] = placer.now_s
        self._recovery = recovery
        self._attendant = attendant
        self._queue = attendant.queue
        self._unix_s = unix_s
        self._owns = owns
        self._placed = placed
        self.runs = Runs()

    async def answer(self, request: ChargeRequest, deadline_s: float) -> dict[str, Any] | Problem:
        """The body of the 202, or why there is none; by `deadline_s` (wall seconds, monotonic)."""
        began_s = self._now_s()
        if not await self._is_ready(deadline_s):
            return self._recovery.problem
        request_id = request.request_id or new_id()
        return self.said(request, request_id, await self._outcome(request, request_id, deadline_s), began_s)

    def said(
        self, request: ChargeRequest, request_id: str, outcome: Outcome, began_s: float
    ) -> dict[str, Any] | Problem:
        """`outcome` as `answer` gives it; `began_s` is when the request came (wall seconds, monotonic)."""
        if isinstance(outcome, Problem):
            if outcome.reason == refusals.MOVED:
                return outcome
            refused_s = self._unix_s()
            between = {"arrived_s": round(refused_s - self._now_s() + began_s, 6), "refused_s": round(refused_s, 6)}
            power_kw = self._settings.power_kw if request.power_kw is None else request.power_kw
            extra = {"request_id": request_id, "ev_id": request.ev_id, "reason": outcome.reason, "power_kw": power_kw}
            _log.info("refused", extra={**extra, **between})
            return refusals.dated(outcome, between)
        if isinstance(outcome, Waiting):
            return answers.queued(outcome, self._attendant)
        return answers.started(outcome, self._now_s(), self._settings.time_scale)

    async def _is_ready(self, deadline_s: float) -> bool:
        ready = self._recovery.ready
        return ready.is_set() or await self._within(deadline_s, ready.wait())

    async def find(self, request_id: str, deadline_s: float) -> Waiting | Entry | Left | Problem:
        """What is known of `request_id`; of one that is just being placed once that ended. By `deadline_s`."""
        if not await self._is_ready(deadline_s):
            return self._recovery.problem
        running = self.runs.get(request_id)
        if running is not None and not await self._within(deadline_s, asyncio.shield(running.outcome)):
            return refusals.out_of_time()
        return self._look_up(request_id) or refusals.unknown_request(request_id)

    def _look_up(self, request_id: str) -> Waiting | Entry | Left | None:
        queue = self._queue
        return queue.find(request_id) or self._book.find(request_id, self._now_s()) or queue.left(request_id)

    async def _outcome(self, request: ChargeRequest, request_id: str, deadline_s: float) -> Outcome:
        # after every await all is looked at anew; between the last look and the reservation in _place there is none
        arrived_at_s = self._now_s()
        while True:
            told = self._told(request, request_id)
            if told is not None:
                return told
            running = self.runs.beside(request_id, request.ev_id)
            charging = self._book.charging(request.ev_id, self._now_s())
            if running is not None:
                outcome = await self._join(running, request_id, deadline_s, arrived_at_s)
                if outcome is not None:
                    return outcome
            elif charging is None:
                return await self._place(request, request_id, deadline_s)
            elif not await self._is_over(charging, deadline_s):
                ends_in_s = round(charging.ends_at_s - self._now_s(), 3)
                return refusals.ev_is_charging(request.ev_id, charging.request_id, ends_in_s)

    def _told(self, request: ChargeRequest, request_id: str) -> Outcome | None:
        """What can be answered at once; what is doubtful is asked for by the next attempt of whoever owns the EV."""
        known = self._known(request.ev_id, request_id)
        if not (isinstance(known, Entry) and self._is_doubtful(known)):
            return known
        if not self._owns(request.ev_id):
            return refusals.moved()
        if request_id not in self.runs:
            self._book.drop(known)
            self._placer.doubts.doubt(known.substation, request_id, known.attempt)
        return None

    def _is_doubtful(self, entry: Entry) -> bool:
        """Whether nobody may be told of it before its substation was asked for it by an attempt of this balancer's own.

        That holds after its planned end too: it may have been revoked a moment before.
        """
        foreign = entry.request_id in self.runs or not self._owns(entry.ev_id)
        return entry.is_hearsay and (foreign or self._book.is_doubtful(entry))

    async def _join(self, running: Running, request_id: str, deadline_s: float, arrived_at_s: float) -> Outcome | None:
        """What came of `running` for this request too, which is the same one; None: all is to be looked at anew.

        That somebody was asked before this one arrived says nothing about who has room for it.
        """
        ending = running.outcome
        if not await self._within(deadline_s, asyncio.shield(ending)):
            return refusals.out_of_time()
        outcome = ending.result()
        same = running.request_id == request_id and running.began_at_s >= arrived_at_s
        return outcome if same and isinstance(outcome, Problem) else None

    def _known(self, ev_id: str, request_id: str) -> Outcome | None:
        found = self._look_up(request_id)
        if found is None:
            waiting = self._queue.of_ev(ev_id)
            return None if waiting is None else refusals.ev_is_queued(ev_id, waiting.request_id)
        if found.ev_id != ev_id:
            return refusals.request_id_taken()
        if isinstance(found, Waiting) or found.state in ("charging", "ended"):
            return found
        return refusals.request_over(request_id, found.state, found.reason)

    async def _is_over(self, entry: Entry, deadline_s: float) -> bool:
        """Whether a session that should still charge does not; its substation is asked, as it may have ended early."""
        account = self._placer.ledger.get(entry.substation)
        timeout_s = min(CHECK_TIMEOUT_S, (deadline_s - self._now_s()) / 2)
        if account is None or account.target.external or timeout_s <= 0:
            return entry.ends_at_s <= self._now_s()
        try:
            record = await self._placer.line.session(account.target, entry.request_id, timeout_s)
        except Silent:
            return False
        if record is None:
            self._book.drop(entry)  # it was lost
            return True
        state, reason = state_of(record.get("state")), record.get("reason")
        if state is None or state == "charging":
            return False
        self._book.close(entry, state, reason if isinstance(reason, str) else None, self._now_s())
        return True

    async def _place(self, request: ChargeRequest, request_id: str, deadline_s: float) -> Outcome:
        if not self._owns(request.ev_id):
            return refusals.moved()
        if len(self.runs) >= MOST_IN_FLIGHT:
            return refusals.busy()
        running = self.runs.begin(request_id, request.ev_id, self._now_s())
        outcome: Outcome = refusals.out_of_time()
        named = request if request.request_id else request.model_copy(update={"request_id": request_id})
        try:
            outcome = await self._start(named, request_id, deadline_s)
            return outcome
        finally:
            self.runs.end(running, outcome)

    async def _start(self, request: ChargeRequest, request_id: str, deadline_s: float) -> Outcome:
        """Starts a session for `request`, which has an id, or lets it wait; behind those that wait already."""
        arrived_at_s, settings, outcome = self._now_s(), self._settings, None
        if not self._must_wait or self._placer.doubts.of(request_id):
            order = Order.of(request, request_id, deadline_s, settings.power_kw, settings.session_s)
            outcome = await self._placer.place(order)
        return await self.conclude(request, outcome, arrived_at_s, deadline_s)

    @property
    def _must_wait(self) -> bool:
        """Whether others wait already."""
        return self._attendant.admits and len(self._queue) > 0

    def is_usual(self, ev_id: str, request_id: str, now_s: float) -> bool:
        """Whether nothing is known of such a request, and nothing in its way: it can be placed at once, see `runs`."""
        if len(self.runs) >= MOST_IN_FLIGHT or self._must_wait or self._placer.doubts.of(request_id):
            return False
        if self.runs.beside(request_id, ev_id) is not None or self._known(ev_id, request_id) is not None:
            return False
        return self._book.charging(ev_id, now_s) is None and self._recovery.ready.is_set()

    async def conclude(
        self, request: ChargeRequest, outcome: Entry | Problem | None, arrived_at_s: float, deadline_s: float
    ) -> Outcome:
        """What `request`, which came at `arrived_at_s`, is answered after `outcome` (None: not tried): it may wait."""
        attendant = self._attendant
        if isinstance(outcome, Entry):
            self.started(outcome)
            return outcome
        if outcome is not None and (not attendant.admits or outcome.reason != "grid-full"):
            return outcome
        waiting = await attendant.take(request, arrived_at_s)
        if isinstance(waiting, Problem):
            return waiting
        if await self._within(deadline_s, attendant.looked()) and waiting.placing is not None:
            await self._within(deadline_s, asyncio.shield(waiting.placing))  # it is served at once
        return self._known(request.ev_id, waiting.request_id) or refusals.out_of_time()

    def started(self, entry: Entry) -> None:
        """This balancer placed `entry`."""
        self.remember(entry)
        self._placed(entry)

    def in_hand(self) -> Iterator[str]:
        """The EVs for which something is being placed, or waits."""
        yield from self.runs.evs
        for waiting in self._queue:
            yield waiting.ev_id

    def knows(self, request_id: str) -> bool:
        """Whether it is placed or waiting here, or was; not whether it is being placed, which may come to nothing."""
        return self._look_up(request_id) is not None

    def places(self, request_id: str) -> bool:
        """Whether it is being placed here: nobody knows yet whether it will be known."""
        return request_id in self.runs

    def told(self, entries: Sequence[Entry]) -> None:
        """Another balancer placed these."""
        for entry in entries:
            self._find(entry)

    def remember(self, entry: Entry) -> None:
        """Takes `entry` into the book; a session that it shows to be one too many is revoked."""
        extra = self._book.add(entry)
        if extra is not None and extra.state_at(self._now_s()) == "charging":
            self._placer.revocations.add(extra.substation, extra.request_id, extra.attempt)
            _log.warning("found twice", extra={"request_id": extra.request_id, "revoked_at": extra.substation})

    def collected(self, substation: str, epoch: int, entries: Sequence[Entry]) -> None:
        """See `services.balancer.watch.Listener`: fences what is one too many, forgets what was lost."""
        for entry in entries:
            self._placer.doubts.settle(substation, entry.request_id, entry.attempt)
            if entry.state == "revoked":
                self._book.given_up(entry.request_id, entry.attempt)
            else:
                self._find(entry)
        found = {entry.request_id for entry in entries}
        self._book.drop_lost(substation, epoch, found, self._now_s())

    def _find(self, entry: Entry) -> None:
        waiting = self._queue.find(entry.request_id)
        if waiting is None or self._book.is_given_up(entry.request_id, entry.attempt):
            self.remember(entry)  # of one that waits a revoked attempt is no place: it has not heard of that yet
        elif waiting.placing is None and len(self._settings.peers) > 1 and entry.is_hearsay:
            self._placer.doubts.doubt(entry.substation, entry.request_id, entry.attempt)
        elif waiting.placing is None:  # it got its place before this balancer started
            self._attendant.admit(waiting, entry)

    async def _within(self, deadline_s: float, awaited: Any) -> bool:
        try:
            await asyncio.wait_for(awaited, max(0.0, deadline_s - self._now_s()))
        except TimeoutError:
            return False
        return True
