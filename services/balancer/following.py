"""What became of a request, and its end before its time: `GET` and `DELETE /requests/{request_id}`. Must not know HTTP."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from config.problems import Problem
from services.balancer import refusals
from services.balancer.account import Account
from services.balancer.answers import place
from services.balancer.attendant import Attendant
from services.balancer.book import Entry, state_of
from services.balancer.dispatch import Dispatch
from services.balancer.line import Silent
from services.balancer.placement import Placer
from services.balancer.queue import Left, Waiting
from services.journal import JournalError

#: A substation is asked what became of a session for no longer than this; then its plan is told (wall seconds).
ASK_TIMEOUT_S = 1.0
#: It is told to end one for no longer than this (wall seconds).
CANCEL_TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)

Found = Waiting | Entry | Left


class Following:
    """Answers for the requests that this balancer knows. `time_scale` is grid seconds per wall second."""

    def __init__(self, dispatch: Dispatch, attendant: Attendant, placer: Placer, time_scale: float) -> None:
        self._dispatch = dispatch
        self._attendant = attendant
        self._placer = placer
        self._time_scale = time_scale
        self._now_s = placer.now_s

    async def find(self, request_id: str, deadline_s: float) -> dict[str, Any] | Problem:
        """Where `request_id` is; or why nobody can say by `deadline_s` (wall seconds, monotonic)."""
        found = await self._dispatch.find(request_id, deadline_s)
        if isinstance(found, Entry):
            await self._ask(found, deadline_s)
        return found if isinstance(found, Problem) else self._document(request_id, found)

    async def cancel(self, request_id: str, deadline_s: float) -> dict[str, Any] | Problem:
        """Ends `request_id`, waiting or charging; what it is then, or why it goes on."""
        found = await self._dispatch.find(request_id, deadline_s)
        if isinstance(found, Waiting):
            found = await self._withdraw(found, deadline_s)
        if isinstance(found, Entry) and found.state_at(self._now_s()) == "charging":
            problem = await self._end(found, deadline_s)
            if problem is not None:
                return problem
        return found if isinstance(found, Problem) else self._document(request_id, found)

    def _document(self, request_id: str, found: Found) -> dict[str, Any]:
        about = {"request_id": request_id, "ev_id": found.ev_id}
        if isinstance(found, Waiting):
            return {**about, "state": "queued", **place(found, self._attendant)}
        if isinstance(found, Left):
            return {**about, "state": found.state, "reason": found.reason}
        now_s = self._now_s()
        state = found.state_at(now_s)
        known = {**about, "state": state, "routed_to": found.substation, "attempt": found.attempt}
        if state == "charging":
            return {**known, "ends_in_s": round((found.ends_at_s - now_s) * self._time_scale, 3)}
        return known if state == "ended" else {**known, "reason": found.reason}

    async def _ask(self, entry: Entry, deadline_s: float) -> None:
        """Learns from its substation what became of a session that should charge."""
        account = self._own(entry)
        timeout_s = min(ASK_TIMEOUT_S, (deadline_s - self._now_s()) / 2)
        if account is None or entry.state_at(self._now_s()) != "charging" or timeout_s <= 0:
            return
        try:
            record = await self._placer.line.session(account.target, entry.request_id, timeout_s)
        except Silent:
            return
        state = "dropped" if record is None else record.get("state")
        reason = "lost" if record is None else record.get("reason")
        self._close(entry, state, reason)

    def _close(self, entry: Entry, state: Any, reason: Any) -> None:
        known = state_of(state)
        if known is not None and known != "charging":
            self._placer.book.close(entry, known, reason if isinstance(reason, str) else None, self._now_s())

    async def _withdraw(self, waiting: Waiting, deadline_s: float) -> Found | Problem:
        """Takes `waiting` out of the queue; where it is just being placed, what comes of that decides."""
        waiting.cancelled = True
        if waiting.placing is not None:
            await asyncio.wait({waiting.placing}, timeout=max(0.0, deadline_s - self._now_s()))
        if self._attendant.queue.find(waiting.request_id) is waiting:
            if waiting.placing is not None:
                return refusals.out_of_time()
            self._attendant.leave(waiting, "cancelled", None)
        try:
            await self._attendant.survive()
        except JournalError as error:
            return refusals.unwritten(error)
        return await self._dispatch.find(waiting.request_id, deadline_s)

    async def _end(self, entry: Entry, deadline_s: float) -> Problem | None:
        """Ends a session at its substation."""
        account = self._own(entry)
        if account is None:
            return refusals.not_ours(entry.substation)
        asked_at_s = self._now_s()
        timeout_s = min(CANCEL_TIMEOUT_S, max(0.01, deadline_s - asked_at_s))
        try:
            body, report = await self._placer.line.cancel(account.target, entry.request_id, timeout_s)
        except Silent as error:
            return refusals.not_told(entry.substation, str(error)[:200])
        if report is not None:
            account.fold(report, asked_at_s, self._now_s())
        state, reason = ("dropped", "lost") if body is None else (body.get("state"), None)
        self._close(entry, state, reason)
        _log.info("cancelled", extra={"request_id": entry.request_id, "substation": entry.substation, "state": state})
        return None

    def _own(self, entry: Entry) -> Account | None:
        account = self._placer.ledger.get(entry.substation)
        return None if account is None or account.target.external else account
