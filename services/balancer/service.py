"""The load balancer over HTTP: `POST /route`, `GET /status`. Must not know who launched it or who asks."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from config.messages import ChargeRequest
from config.names import BALANCER, NAME_RULE, is_name
from config.problems import FieldFault, Problem, bad_fields
from config.settings import BalancerSettings
from monitoring.metrics import BalancerMetrics
from services.balancer import status
from services.balancer.account import Account
from services.balancer.attendant import Attendant
from services.balancer.book import Book, Entry
from services.balancer.decisions import Decisions, View
from services.balancer.dispatch import Dispatch
from services.balancer.doubts import Doubts
from services.balancer.following import Following
from services.balancer.journal import BalancerJournal, Contents
from services.balancer.ledger import Ledger
from services.balancer.line import HttpLine, Line
from services.balancer.placement import Placer
from services.balancer.push import read_push
from services.balancer.queue import Queue
from services.balancer.recovery import Recovery
from services.balancer.revocations import Revocations
from services.balancer.watch import Watch
from services.clock import Clock
from services.deadline import time_left_s
from services.http import read_body, read_messages
from services.journal import Journal, OpenJournal
from services.problem import ProblemError, json_response, problem_response
from services.routing import registry
from services.routing.node import Node
from services.service import Health
from services.substation.session import watts

#: What `balancer_requests_total{outcome}` and /health count an answer as; any other status is `failed`.
_OUTCOMES = {202: "accepted", 409: "conflict", 422: "invalid"}

_REFUSED = frozenset({"grid-full", "queue-full"})

Answer = dict[str, Any] | Problem


class BalancerService:
    """One balancer; see services.service.Service. `line` is the way to substations, where tests may put a fake; so may
    they for the journal."""

    role = BALANCER

    def __init__(
        self,
        settings: BalancerSettings,
        clock: Clock,
        random: Random,
        line: Line | None = None,
        open_journal: OpenJournal = Journal,
    ) -> None:
        self.name = settings.name
        self.registry = CollectorRegistry()
        self.stop_timeout_s = settings.request_timeout_s
        self.ledger = Ledger(watts(settings.power_kw), settings.time_scale)
        self._settings = settings
        self._now_s = clock.monotonic_s
        self._http_line = HttpLine(settings.url)
        self._line = line or self._http_line
        self._metrics = BalancerMetrics(self.registry)
        self._outcomes: Counter[str] = Counter()
        self._journal = BalancerJournal(settings.journal, settings.durability, clock.time_s, open_journal)
        self._revocations = Revocations(self._line, self.ledger, self._now_s, journal=self._journal)
        self.placer = self._make_placer(random, clock.time_s)
        self._watch = Watch(settings, self.ledger, self._line, self, random, self._now_s, clock.time_s)
        self.queue = Queue(settings.queue_limit)
        self._attendant = Attendant(settings, self.queue, self.placer, self._journal, self._placed, clock.time_s)
        self._recovery = Recovery(
            self._journal, self._restore, self._watch.start, self._watch.ready, self._attendant.start
        )
        self._dispatch = Dispatch(settings, self.placer, self._recovery, self._attendant, clock.time_s)
        self._following = Following(self._dispatch, self._attendant, self.placer, settings.time_scale)
        self._observe()

    def _make_placer(self, random: Random, unix_s: Callable[[], float]) -> Placer:
        return Placer(
            self.ledger,
            self._line,
            registry.make(self._settings.policy),
            Book(),
            self._revocations,
            self._metrics,
            random,
            self._settings.time_scale,
            self._now_s,
            decisions=Decisions(View(self._heard_at_s, self._everyone, self._now_s), unix_s),
            doubts=Doubts(self._journal),
            restarted=self._look,
        )

    def _observe(self) -> None:
        self._metrics.queue_length.set_function(lambda: len(self.queue))
        self._metrics.grid_loading_percentage.set_function(lambda: 100 * self.ledger.totals(self._now_s()).load)
        self._metrics.grid_health.set_function(lambda: status.HEALTH[status.health(self.ledger, self._now_s())])

    def routes(self) -> Sequence[web.RouteDef]:
        """`/route`, `/requests/…`, `/status`, `/decisions`, and `/reports` for substations."""
        return [
            web.post("/route", self._route),
            web.get("/requests/{request_id}", self._request),
            web.delete("/requests/{request_id}", self._request),
            web.post("/reports", self._reports),
            web.get("/status", self._status),
            web.get("/decisions", self._decisions),
        ]

    def headers(self) -> Mapping[str, str]:
        """None of its own."""
        return {}

    def health(self) -> Health:
        """`starting` until the journal is read and every substation was heard or has timed out."""
        fields: dict[str, Any] = {f"{name}_total": self._outcomes[name] for name in ("accepted", "refused", "failed")}
        error = self._recovery.error or self._journal.error
        if error is not None:
            fields |= {"reason": error.reason, "detail": error.detail}
        return Health("ok" if self._recovery.ready.is_set() else "starting", fields)

    def command(self, order: Mapping[str, Any]) -> None:
        """Knows no verb."""

    async def start(self) -> None:
        """Reads the journal and begins to watch; Invalid where the static list of substations is wrong."""
        await self._http_line.start()
        await self._recovery.start()

    async def stop(self) -> None:
        """Ends polls, revocations and connections; what is open stays in the journal."""
        await self._recovery.stop()
        await self._attendant.stop()
        await self._watch.stop()
        await self._revocations.stop()
        await self._http_line.stop()
        await self._journal.close()

    def _restore(self, contents: Contents) -> None:
        for attempt in contents.attempts:
            if attempt.revoked_s is not None:
                self.placer.book.given_up(attempt.request_id, attempt.attempt)
        self._revocations.resume(contents.attempts)
        self.placer.doubts.resume(contents.attempts)
        self._attendant.restore(contents.queue)

    def _placed(self, entry: Entry) -> None:
        self._dispatch.remember(entry)

    def _look(self, substation: str) -> None:
        self._watch.look(substation)

    def collected(self, substation: str, epoch: int, entries: Sequence[Entry]) -> None:
        """See `Listener.collected`."""
        self._dispatch.collected(substation, epoch, entries)

    def changed(self, new: Sequence[Account], gone: Sequence[Account]) -> None:
        """See `Listener.changed`: a substation's series come and go with it."""
        for account in gone:
            self._metrics.forget(account.target.name)
        self._revocations.deliver([account.target.name for account in new])
        for account in new:
            name = account.target.name
            self._metrics.load_percentage.labels(name).set_function(partial(status.load_pct, account, self._now_s))
            self._metrics.report_age_s.labels(name).set_function(partial(status.age_s, account, self._now_s))

    async def _route(self, request: web.Request) -> web.Response:
        deadline_s = self._now_s() + time_left_s(request.headers, self._settings.request_timeout_s)
        batch = await read_messages(request, ChargeRequest)
        if batch.is_array:
            answers = await asyncio.gather(*(self._answer(item, deadline_s) for item in batch.items))
            return json_response([_element(answer) for answer in answers])
        answer = await self._answer(batch.items[0], deadline_s)
        return problem_response(answer) if isinstance(answer, Problem) else json_response(answer, 202)

    async def _answer(self, item: ChargeRequest | Problem, deadline_s: float) -> Answer:
        answer = item if isinstance(item, Problem) else await self._dispatch.answer(item, deadline_s)
        outcome = _outcome(answer)
        self._outcomes[outcome] += 1
        self._metrics.requests.labels(outcome).inc()
        return answer

    async def _request(self, request: web.Request) -> web.Response:
        request_id = request.match_info["request_id"]
        deadline_s = self._now_s() + time_left_s(request.headers, self._settings.request_timeout_s)
        if not is_name(request_id):
            raise ProblemError(bad_fields((FieldFault("request_id", f"must be {NAME_RULE}", request_id[:80]),)))
        do = self._following.cancel if request.method == "DELETE" else self._following.find
        answer = await do(request_id, deadline_s)
        return problem_response(answer) if isinstance(answer, Problem) else json_response(answer)

    async def _reports(self, request: web.Request) -> web.Response:
        pushed = read_push(await read_body(request))
        account = self.ledger.get(pushed.substation)
        if account is None:
            raise ProblemError(Problem(404, f"no substation is called {pushed.substation[:80]}", "unknown-substation"))
        if account.fold(pushed.report, -math.inf, self._now_s()):
            self._watch.look(pushed.substation)
        return web.Response(status=204)

    async def _status(self, _: web.Request) -> web.Response:
        return json_response(status.document(self.ledger, self._now_s()))

    async def _decisions(self, request: web.Request) -> web.Response:
        request_id = request.query.get("request_id", "")
        if not is_name(request_id):
            raise ProblemError(bad_fields((FieldFault("request_id", f"must be {NAME_RULE}", request_id[:80]),)))
        return json_response({"policy": self._settings.policy, **self.placer.decisions.document(request_id)})

    def _everyone(self) -> Iterator[Node]:
        return (account.node for account in self.ledger)

    def _heard_at_s(self, name: str) -> float | None:
        account = self.ledger.get(name)
        return None if account is None else account.heard_at_s


def _outcome(answer: Answer) -> str:
    if not isinstance(answer, Problem):
        return "queued" if answer["response"]["status"] == "queued" else "accepted"
    return "refused" if answer.reason in _REFUSED else _OUTCOMES.get(answer.status, "failed")


def _element(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Problem):
        return {"status_code": answer.status, **answer.body()}
    return {"status_code": 202, **answer}


def create(settings: BalancerSettings, clock: Clock, random: Random) -> BalancerService:
    """The service of role `balancer`; Invalid for an unknown policy."""
    return BalancerService(settings, clock, random)
