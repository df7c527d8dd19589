"""A substation over HTTP: admission, its record of sessions, and a report on every answer.

Must not know how anything is decided or written down, nor who launched it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from config.access import Token
from config.messages import SubstationCharge
from config.names import SUBSTATION
from config.problems import Problem
from config.report import HEADER, MEANT, MISDIRECTED
from config.settings import SubstationSettings
from monitoring.metrics import SubstationMetrics
from services.clock import Clock
from services.http import read_messages
from services.journal import Journal, JournalError, OpenJournal
from services.problem import ProblemError, json_response, problem_response
from services.service import Asked, Health
from services.stream.member import Member
from services.substation import answers
from services.substation.admission import Admission, Limits
from services.substation.adoption import adopt
from services.substation.charging import Answer, Charging
from services.substation.endings import Endings
from services.substation.fences import Fences
from services.substation.keeping import Keeper
from services.substation.members import Members
from services.substation.pushes import Post, Pushes
from services.substation.recovery import Recovery
from services.substation.session import watts
from services.substation.sessions import SessionRoutes
from services.tracing import REQUEST_ID, Timed, apart

#: Requests in flight at a stop are answered within this (wall seconds); each takes milliseconds.
STOP_TIMEOUT_S = 10.0
#: A timer sleeps no longer than this (wall seconds), however far the next end is.
LONGEST_TIMER_S = 3600.0
#: … and no shorter: who asks ends what is over by himself, and of the rest nobody would notice that it was so late.
SHORTEST_TIMER_S = 0.02
#: Answers that nothing came between, within so many wall seconds, carry the same report.
SHARED_S = 0.001

_log = logging.getLogger(__name__)


class SubstationService:
    """One substation. `random` gives the epoch of its reports; see services.service.Service for the rest.

    Tests may put fakes for its journal, and for how balancers are told.
    """

    role = SUBSTATION
    streamed = "/charge"
    stop_timeout_s = STOP_TIMEOUT_S

    def __init__(
        self,
        settings: SubstationSettings,
        clock: Clock,
        random: Random,
        open_journal: OpenJournal = Journal,
        post: Post | None = None,
        token: Token | None = None,
    ) -> None:
        self.name = settings.name
        self.registry = CollectorRegistry()
        self._drain_s = settings.drain_s
        self._empty = asyncio.Event()
        self._metrics = SubstationMetrics(self.registry)
        self._keeper = Keeper(settings, clock, self._journal_changed, open_journal)
        self._pushes = Pushes(clock.monotonic_s, self._pushed, post, token)
        over = Endings(self._metrics, self._keeper, self._pushes).over
        self.admission = Admission(settings, random.getrandbits(62) + 1, over, on_forget=self._keeper.forgotten)
        self._charging = Charging(settings, self.admission, self._keeper, self._metrics)
        keeper = self._keeper
        self._recovery = Recovery(self.name, lambda: keeper.recover(self.admission), clock.monotonic_s, keeper.is_new)
        self._fences = Fences()
        self._sessions = SessionRoutes(self.admission, self._keeper, self._recovery, self._set_timer)
        self._members = Members(self._charging, self._metrics, self._set_timer)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_end_s = math.inf
        self._reported = (-1, 0.0, "")
        self._observe()

    @property
    def _clock(self) -> Clock:
        return self._keeper.clock

    def _observe(self) -> None:
        core = self.admission
        self._metrics.observe(
            sessions=lambda: core.report(self._clock.grid_s()).sessions,
            load_kw=lambda: core.report(self._clock.grid_s()).load_w / 1000,
            max_sessions=lambda: core.max_sessions,
            capacity_kw=lambda: math.inf if core.capacity_w is None else core.capacity_w / 1000,
        )

    def routes(self) -> Sequence[web.RouteDef]:
        """`/charge`, `/sessions`, and for balancers `/fences` and `/report`."""
        routes = [web.post("/charge", self._charge), web.post("/fences", self._fences.put)]
        return [*routes, *self._sessions.routes()]

    def frequented(self) -> Mapping[str, Callable[[Asked], Awaitable[web.Response]]]:
        """`/charge`."""
        return {"/charge": self._charge}

    def glanced(self) -> Mapping[str, Callable[[Asked], Awaitable[web.Response]]]:
        """`/report`."""
        return {"/report": self._sessions.report}

    def instant(self) -> Mapping[str, Callable[[], bool]]:
        """`/report`, once it knows what it has."""
        return {"/report": lambda: self._recovery.done}

    def heard(self, request: Asked) -> None:
        """A balancer that names itself is told of what its polls would show too late; its former incarnations are fenced."""
        self._hear(request.headers)

    def _hear(self, headers: Mapping[str, str]) -> None:
        if headers.get(MEANT, self.name) != self.name:
            raise ProblemError(Problem(MISDIRECTED, f"this is {self.name}", "misdirected"))  # addresses change hands
        self._pushes.heard(headers)
        self._fences.heard(headers)

    def take(self, members: Sequence[Member], headers: Mapping[str, str]) -> None:
        """See `services.stream.answering.Streaming`."""
        self._hear(headers)
        self._members.take(members, self._recovery.problem or self._fences.refusal(headers))

    def headers(self) -> Mapping[str, str]:
        """The report, once it knows what it has."""
        return {HEADER: self._report()} if self._recovery.done else {}

    def _pushed(self) -> Mapping[str, str]:
        return {"substation": self.name, "report": self._report()}

    def _report(self) -> str:
        """The report, which many answers of one moment share: no older than a message is that takes a millisecond."""
        core, now_s = self.admission, self._clock.grid_s()
        core.advance(now_s)
        seq, at_s, text = self._reported
        if seq != core.seq or not 0 <= now_s - at_s <= SHARED_S * self._clock.time_scale:
            text = core.report(now_s).encode()
            self._reported = (core.seq, now_s, text)
        return text

    def health(self) -> Health:
        """Its load and what it accepted and refused since it started; `degraded` while it cannot write its journal."""
        if not self._recovery.done:
            return self._recovery.health
        core = self.admission
        core.advance(self._clock.grid_s())
        fields = {
            "sessions": core.sessions,
            "max_sessions": core.max_sessions,
            "load_kw": core.load_w / 1000,
            "capacity_kw": None if core.capacity_w is None else core.capacity_w / 1000,
            "load_pct": round(100 * core.load, 3),
            "accepted_total": self._charging.accepted,
            "refused_total": self._charging.refused,
        }
        if (error := self._keeper.error) is not None:
            return Health("degraded", {**fields, "reason": error.reason, "detail": error.detail})
        return Health("draining" if core.draining else "ok", fields)

    def command(self, order: Mapping[str, Any]) -> None:
        """`drain`, `undrain`, `drop` (end all sessions, for a `reason`), `derate` (to `max_sessions`, `capacity_kw`)."""
        match order:
            case {"do": "drain" | "undrain" as verb}:
                self.admission.drain(draining=verb == "drain")
            case {"do": "drop", "reason": str(reason)}:
                for session in self.admission.drop(reason, self._clock.grid_s()):
                    about = {"request_id": session.request_id, "ev_id": session.ev_id, "reason": reason}
                    _log.warning("dropped", extra=about)
            case {"do": "derate"}:
                self.admission.limit(_limits(self.admission.nominal, order))
            case _:
                return
        _log.info("ordered", extra={"order": dict(order)})
        self._limits_changed()

    def _limits_changed(self) -> None:
        if self._recovery.done:
            self._keeper.limited(self.admission)
            self._pushes.soon()

    def _journal_changed(self, error: JournalError | None) -> None:
        self.admission.close(error is not None)
        self._limits_changed()

    async def start(self) -> None:
        """Reads the journal; where that takes long, what is asked meanwhile is answered 503."""
        await self._recovery.start()
        self._set_timer()

    async def drain(self) -> None:
        """See `services.service.Draining`: until the last session ended, or its settings' `drain_s` passed."""
        if not self._drain_s:
            return
        self.command({"do": "drain"})
        self._set_timer()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._drain_s):
                await self._empty.wait()
        _log.info("drained", extra={"charging": self.admission.sessions})

    async def stop(self) -> None:
        """Ends the timer and the journal; sessions are not waited for, the next start resumes them."""
        if self._timer is not None:
            self._timer.cancel()
        await self._recovery.stop()
        await self._pushes.stop()
        if self._recovery.done:
            self._keeper.limited(self.admission, admitting=False)
        await self._keeper.close()

    async def _charge(self, request: Asked) -> web.Response:
        with Timed(self._metrics.request_duration_s):
            return await self._charged(request)

    async def _charged(self, request: Asked) -> web.Response:
        try:
            batch = await read_messages(request, SubstationCharge)
        except (ProblemError, web.HTTPException):
            self._metrics.requests.labels("invalid").inc()
            raise
        if (fenced := self._fences.refusal(request.headers)) is not None:
            raise ProblemError(fenced)
        if not batch.is_array and not isinstance(batch.items[0], Problem):
            REQUEST_ID.set(batch.items[0].request_id or "")
        found = await self._answers(batch.items)
        if batch.is_array:
            return json_response([answers.element(answer) for answer in found])
        return problem_response(found[0]) if isinstance(found[0], Problem) else json_response(found[0], 202)

    async def _answers(self, items: Sequence[SubstationCharge | Problem]) -> Sequence[Answer]:
        if (waiting := self._recovery.problem) is not None:
            return [item if isinstance(item, Problem) else waiting for item in items]
        try:
            return await self._charging.answer(items)
        finally:
            self._set_timer()

    def _set_timer(self) -> None:
        end_s = self.admission.next_end_s()
        if end_s is None and self.admission.draining:
            self._empty.set()
        if end_s is None or end_s >= self._timer_end_s:
            return  # the timer looks again by then
        if self._timer is not None:
            self._timer.cancel()
        self._timer_end_s = end_s
        wait_s = min(LONGEST_TIMER_S, max(SHORTEST_TIMER_S, (end_s - self._clock.grid_s()) / self._clock.time_scale))
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._due, context=apart())

    def _due(self) -> None:
        self._timer, self._timer_end_s = None, math.inf
        self.admission.advance(self._clock.grid_s())
        self._set_timer()


def _limits(nominal: Limits, order: Mapping[str, Any]) -> Limits:
    """What `order` leaves of `nominal`: never more than that; what it does not name stays."""
    most, capacity_kw = order.get("max_sessions"), order.get("capacity_kw")
    sessions = nominal.max_sessions if most is None else min(nominal.max_sessions, max(1, int(most)))
    if capacity_kw is None:
        return Limits(sessions, nominal.capacity_w)
    capacity_w = max(1, watts(capacity_kw))
    return Limits(sessions, capacity_w if nominal.capacity_w is None else min(nominal.capacity_w, capacity_w))


def create(settings: SubstationSettings, clock: Clock, random: Random, token: Token | None = None) -> SubstationService:
    """The service of role `substation`; its `name`, limits and session lengths are those of `settings`.

    With a `journal_dir` it is called after the journal that it adopts there; GridError where it cannot.
    """
    if settings.journal_dir is None:
        return SubstationService(settings, clock, random, token=token)
    claim = adopt(Path(settings.journal_dir), settings.name)
    adopted = replace(settings, name=claim.name, journal=str(claim.path))
    return SubstationService(adopted, clock, random, claim.open_journal, token=token)
