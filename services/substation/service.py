"""A substation over HTTP: admission, its record of sessions, and a report on every answer.

Must not know balancers or who launched it. Between a check and its reservation there is never an await.
"""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections.abc import Mapping, Sequence
from itertools import chain, takewhile
from random import Random
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from config.messages import SubstationCharge
from config.names import SUBSTATION, is_name
from config.problems import FieldFault, Problem, bad_fields
from config.report import HEADER
from config.settings import SubstationSettings
from monitoring.metrics import SubstationMetrics
from services.clock import Clock
from services.http import read_messages
from services.problem import ProblemError, json_response, problem_response
from services.service import Health
from services.substation import answers
from services.substation.admission import Admission, Refused, Started
from services.substation.session import Session

#: Requests in flight at a stop are answered within this (wall seconds); each takes milliseconds.
STOP_TIMEOUT_S = 10.0
#: A timer sleeps no longer than this (wall seconds), however far the next end is.
LONGEST_TIMER_S = 3600.0

_log = logging.getLogger(__name__)

#: What a charge is answered: its status and body, or the Problem.
Answer = dict[str, Any] | Problem


class SubstationService:
    """One substation. `random` gives the epoch of its reports; see services.service.Service for the rest."""

    role = SUBSTATION
    stop_timeout_s = STOP_TIMEOUT_S

    def __init__(self, settings: SubstationSettings, clock: Clock, random: Random) -> None:
        self.name = settings.name
        self.registry = CollectorRegistry()
        self.admission = Admission(settings, random.getrandbits(62) + 1, self._ended)
        self._settings = settings
        self._clock = clock
        self._metrics = SubstationMetrics(self.registry)
        self._accepted = 0
        self._refused = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_end_s: float | None = None
        self._observe()

    def _observe(self) -> None:
        core = self.admission
        capacity_kw = math.inf if core.capacity_w is None else core.capacity_w / 1000
        self._metrics.observe(
            sessions=lambda: core.report(self._clock.grid_s()).sessions,
            load_kw=lambda: core.report(self._clock.grid_s()).load_w / 1000,
            max_sessions=lambda: core.max_sessions,
            capacity_kw=lambda: capacity_kw,
        )

    def routes(self) -> Sequence[web.RouteDef]:
        """`/charge` and `/sessions`."""
        return [
            web.post("/charge", self._charge),
            web.get("/sessions", self._sessions),
            web.get("/sessions/{request_id}", self._session),
            web.delete("/sessions/{request_id}", self._revoke),
        ]

    def headers(self) -> Mapping[str, str]:
        """The report."""
        return {HEADER: self.admission.report(self._clock.grid_s()).encode()}

    def health(self) -> Health:
        """Its load and what it accepted and refused since it started."""
        core = self.admission
        core.advance(self._clock.grid_s())
        fields = {
            "sessions": core.sessions,
            "max_sessions": core.max_sessions,
            "load_kw": core.load_w / 1000,
            "capacity_kw": None if core.capacity_w is None else core.capacity_w / 1000,
            "load_pct": round(100 * core.load, 3),
            "accepted_total": self._accepted,
            "refused_total": self._refused,
        }
        return Health("draining" if core.draining else "ok", fields)

    def command(self, order: Mapping[str, Any]) -> None:
        """`{"do": "drain"}` and `{"do": "undrain"}`."""
        verb = order.get("do")
        if verb in ("drain", "undrain"):
            self.admission.drain(draining=verb == "drain")
            _log.info("ordered", extra={"order": verb})

    async def start(self) -> None:
        """Nothing to start: the timer is set by the first session."""

    async def stop(self) -> None:
        """Ends the timer; sessions are not waited for."""
        if self._timer is not None:
            self._timer.cancel()

    async def _charge(self, request: web.Request) -> web.Response:
        try:
            batch = await read_messages(request, SubstationCharge)
        except (ProblemError, web.HTTPException):
            self._metrics.requests.labels("invalid").inc()
            raise
        found = [self._answer(item) for item in batch.items]
        self._set_timer()
        if batch.is_array:
            return json_response([_element(answer) for answer in found])
        return problem_response(found[0]) if isinstance(found[0], Problem) else json_response(found[0], 202)

    def _answer(self, item: SubstationCharge | Problem) -> Answer:
        if isinstance(item, Problem):
            self._metrics.requests.labels("invalid").inc()
            return item
        request_id = item.request_id or uuid.uuid4().hex
        now_s = self._clock.grid_s()
        outcome = self.admission.admit(item, request_id, now_s)
        if isinstance(outcome, Started):
            return self._accept(outcome, now_s)
        return self._refuse(outcome, item, request_id)

    def _accept(self, outcome: Started, now_s: float) -> Answer:
        self._accepted += not outcome.repeated
        self._metrics.requests.labels("repeated" if outcome.repeated else "accepted").inc()
        return answers.started(outcome, self.name, now_s)

    def _refuse(self, outcome: Refused, charge: SubstationCharge, request_id: str) -> Answer:
        self._refused += 1
        self._metrics.requests.labels(outcome.reason).inc()
        problem = answers.refusal(outcome, self._settings, self._clock.time_scale)
        _log.info(
            "refused",
            extra={
                "request_id": request_id,
                "ev_id": charge.ev_id,
                "attempt": charge.attempt,
                "reason": outcome.reason,
                "retry_after_s": problem.retry_after_s,
            },
        )
        return problem

    def _set_timer(self) -> None:
        end_s = self.admission.next_end_s()
        if end_s == self._timer_end_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_end_s = end_s
        if end_s is None:
            self._timer = None
            return
        wait_s = max(0.0, end_s - self._clock.grid_s()) / self._clock.time_scale
        self._timer = asyncio.get_running_loop().call_later(min(wait_s, LONGEST_TIMER_S), self._due)

    def _due(self) -> None:
        self._timer_end_s = None
        self.admission.advance(self._clock.grid_s())
        self._set_timer()

    def _ended(self, session: Session) -> None:
        self._metrics.charging_time_s.observe((session.ended_s or session.started_s) - session.started_s)
        self._metrics.energy_kwh.inc(session.energy_kwh)

    async def _sessions(self, request: web.Request) -> web.Response:
        since_s = _number(request, "since_s", 0.0)
        now_s = self._clock.grid_s()
        self.admission.advance(now_s)
        found = self.admission.running()
        if _number(request, "ended", 0.0):
            found = chain(self._ended_since(since_s), found)
        return json_response(
            {
                "epoch": self.admission.epoch,
                "now_s": self._clock.unix_s(now_s),
                "sessions": [answers.record(session, self._clock) for session in found],
            }
        )

    def _ended_since(self, since_s: float) -> list[Session]:
        def late(session: Session) -> bool:
            return self._clock.unix_s(session.ended_s or 0.0) >= since_s

        return list(takewhile(late, self.admission.ended()))[::-1]

    async def _session(self, request: web.Request) -> web.Response:
        self.admission.advance(self._clock.grid_s())
        session = self.admission.find(request.match_info["request_id"])
        if session is None:
            raise ProblemError(_unknown(request))
        return json_response(answers.record(session, self._clock))

    async def _revoke(self, request: web.Request) -> web.Response:
        request_id = request.match_info["request_id"]
        attempt = int(_number(request, "attempt", 0.0)) or None
        if not is_name(request_id):
            raise ProblemError(_unknown(request))
        session = self.admission.revoke(request_id, attempt, self._clock.grid_s())
        if session is None and attempt is None:
            raise ProblemError(_unknown(request))
        self._set_timer()
        state = session.state if session else "unknown"
        _log.info("revoked", extra={"request_id": request_id, "attempt": attempt, "state": state})
        known = {} if session is None else {"ev_id": session.ev_id, "attempt": session.attempt}
        return json_response({"request_id": request_id, **known, "state": state})


def _element(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Problem):
        return {"status_code": answer.status, **answer.body()}
    return {"status_code": 202, **answer}


def _unknown(request: web.Request) -> Problem:
    return Problem(404, f"no session of request_id {request.match_info['request_id'][:80]} is known here")


def _number(request: web.Request, name: str, default: float) -> float:
    text = request.query.get(name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1e12:
        fault = FieldFault(name, "must be a number, 0 to 1e12", text[:80])
        raise ProblemError(bad_fields((fault,)))
    return number


def create(settings: SubstationSettings, clock: Clock, random: Random) -> SubstationService:
    """The service of role `substation`; its `name`, limits and session lengths are those of `settings`."""
    return SubstationService(settings, clock, random)
