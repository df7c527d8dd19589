"""`/sessions` and `/report` over HTTP: what charges or did, and an end before its plan. Must not know how charges begin."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import islice, takewhile
from typing import Any

from aiohttp import web

from config.names import is_name
from config.problems import Problem
from services.journal import JournalError
from services.problem import ProblemError, json_response
from services.query import number
from services.service import Asked
from services.substation import answers
from services.substation.admission import MOST_ATTEMPTS, Admission
from services.substation.keeping import Keeper
from services.substation.recovery import Recovery
from services.substation.session import Session, State

_log = logging.getLogger(__name__)


class SessionRoutes:
    """Answers for one substation; `changed` is called when a session ended early."""

    def __init__(self, admission: Admission, keeper: Keeper, recovery: Recovery, changed: Callable[[], None]) -> None:
        self._admission = admission
        self._keeper = keeper
        self._recovery = recovery
        self._changed = changed

    def routes(self) -> Sequence[web.RouteDef]:
        """`/sessions`, `/sessions/{request_id}`, and `/report`."""
        return [
            web.get("/report", self.report),
            web.get("/sessions", self._all),
            web.get("/sessions/{request_id}", self._one),
            web.delete("/sessions/{request_id}", self._revoke),
        ]

    def _now_s(self) -> float:
        """The grid's time, once it is known what there is; ProblemError before."""
        if (waiting := self._recovery.problem) is not None:
            raise ProblemError(waiting)
        now_s = self._keeper.clock.grid_s()
        self._admission.advance(now_s)
        return now_s

    async def report(self, _: Asked) -> web.Response:
        """Nothing but the report that every answer carries: what a poll needs of a substation of ours."""
        self._now_s()
        return web.Response(status=204)

    async def _all(self, request: web.Request) -> web.Response:
        since_s = number(request, "since_s", 0.0)
        now_s = self._now_s()
        found, following = self._page(int(number(request, "after", 0.0)), int(number(request, "limit", 0.0)))
        if number(request, "ended", 0.0) and following is None:
            found = self._ended_since(since_s) + found
        clock = self._keeper.clock
        records = [answers.record(session, clock) for session in await self._keeper.known(found)]
        document = {"epoch": self._admission.epoch, "now_s": clock.unix_s(now_s), "sessions": records}
        return json_response(document if following is None else {**document, "next": following})

    def _page(self, after: int, limit: int) -> tuple[list[Session], int | None]:
        """What runs from behind the session numbered `after`, at most `limit` (0: all), and where the next page begins."""
        running = (session for session in self._admission.running() if session.number > after)
        found = list(islice(running, limit or None))
        return found, found[-1].number if limit and len(found) == limit else None

    def _ended_since(self, since_s: float) -> list[Session]:
        clock = self._keeper.clock

        def late(session: Session) -> bool:
            return answers.ended_unix_s(session, clock) >= since_s

        return list(takewhile(late, self._admission.ended()))[::-1]

    async def _one(self, request: web.Request) -> web.Response:
        self._now_s()
        session = self._admission.find(request.match_info["request_id"])
        if session is None:
            raise ProblemError(_unknown(request))
        return json_response(answers.record(session, self._keeper.clock))

    async def _revoke(self, request: web.Request) -> web.Response:
        request_id = request.match_info["request_id"]
        attempt = int(number(request, "attempt", 0.0)) or None
        if not is_name(request_id):
            raise ProblemError(_unknown(request))
        state: State = "revoked" if attempt and request.query.get("reason") != "cancelled" else "cancelled"
        session = self._admission.revoke(request_id, attempt, self._now_s(), state)
        if session is None and attempt is None:
            raise ProblemError(_unknown(request))
        self._changed()
        await self._settle(request_id, attempt or MOST_ATTEMPTS)
        now = session.state if session else "unknown"
        _log.info("revoked", extra={"request_id": request_id, "attempt": attempt, "state": now})
        known: dict[str, Any] = {} if session is None else {"ev_id": session.ev_id, "attempt": session.attempt}
        return json_response({"request_id": request_id, **known, "state": now})

    async def _settle(self, request_id: str, attempt: int) -> None:
        """Until the revocation survives: who is told that it was heard will not say it again."""
        self._keeper.revoked(request_id, attempt)
        try:
            await self._keeper.settle()
        except JournalError as error:
            raise ProblemError(answers.unkept(self._recovery.name, error)) from error


def _unknown(request: web.Request) -> Problem:
    return Problem(404, f"no session of request_id {request.match_info['request_id'][:80]} is known here")
