"""The load balancer over HTTP: `POST /route`, `GET /status`. Must not know who launched it or how anything is decided."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from config.access import Token
from config.gossip import read_note
from config.messages import ChargeRequest
from config.names import BALANCER, NAME_RULE, is_name, new_id
from config.problems import CONTENT_TYPE, FieldFault, Problem, bad_fields, whole_seconds
from config.settings import BalancerSettings
from monitoring.metrics import REFUSED, BalancerMetrics
from services.balancer import refusals, status
from services.balancer.core import Core
from services.balancer.forwarding import Answer, Passed
from services.balancer.line import HttpLine, Line
from services.balancer.lookout import SYSTEM, Dns
from services.balancer.peers import FORWARDED, HttpPeerLine, PeerLine
from services.balancer.push import read_push
from services.balancer.targets import to_http_sd
from services.clock import Clock
from services.deadline import time_left_s
from services.http import read_body, read_messages
from services.journal import Journal, OpenJournal
from services.problem import ProblemError, json_response, problem_response, to_json
from services.service import Asked, Health
from services.tracing import REQUEST_ID, Timed

#: What `balancer_requests_total{outcome}` and /health count an answer as; any other status is `failed`.
_OUTCOMES = {202: "accepted", 409: "conflict", 422: "invalid"}

#: Another balancer counts these.
_ELSEWHERE = frozenset({refusals.NOT_OWNER, refusals.MOVED})


class BalancerService:
    """One balancer; see services.service.Service. Tests may put fakes for its ways to substations and other balancers,
    for its journal and for DNS."""

    role = BALANCER

    def __init__(
        self,
        settings: BalancerSettings,
        clock: Clock,
        random: Random,
        line: Line | None = None,
        peers: PeerLine | None = None,
        open_journal: OpenJournal = Journal,
        dns: Dns = SYSTEM,
        token: Token | None = None,
    ) -> None:
        self.name = settings.name
        self.registry = CollectorRegistry()
        self.stop_timeout_s = settings.request_timeout_s
        self._settings = settings
        self._now_s = clock.monotonic_s
        self._lines = (line or HttpLine(settings.url, token), peers or HttpPeerLine(settings.url, token))
        self._metrics = BalancerMetrics(self.registry)
        self._outcomes: Counter[str] = Counter()
        self.core = Core(settings, clock, random, self._metrics, *self._lines, open_journal, dns)
        self.ledger, self.placer, self.queue = self.core.ledger, self.core.placer, self.core.queue

    def routes(self) -> Sequence[web.RouteDef]:
        """`/route`, `/requests/…`, `/status`, `/decisions`, `/targets` for Prometheus, `/reports` and `/peers`."""
        return [
            web.post("/route", self._route),
            web.get("/requests/{request_id}", self._request),
            web.delete("/requests/{request_id}", self._request),
            web.post("/reports", self._reports),
            web.post("/peers", self._peers),
            web.get("/status", self._status),
            web.get("/decisions", self._decisions),
            web.get("/targets", self._targets),
        ]

    def frequented(self) -> Mapping[str, Callable[[Asked], Awaitable[web.Response]]]:
        """`/route`."""
        return {"/route": self._route}

    def headers(self) -> Mapping[str, str]:
        """None of its own."""
        return {}

    def health(self) -> Health:
        """`starting` until the journal is read, every substation was heard or has timed out, and other balancers joined;
        `degraded` where the journal cannot be read until somebody mends it."""
        fields: dict[str, Any] = {f"{name}_total": self._outcomes[name] for name in ("accepted", "refused", "failed")}
        error = self.core.recovery.error or self.core.journal.error
        if error is not None:
            fields |= {"reason": error.reason, "detail": error.detail}
        if self.core.recovery.stuck:
            return Health("degraded", fields)
        return Health("ok" if self.core.recovery.ready.is_set() else "starting", fields)

    def command(self, order: Mapping[str, Any]) -> None:
        """Knows no verb."""

    async def start(self) -> None:
        """Reads the journal and begins to watch; Invalid where the static list of substations is wrong."""
        for line in self._lines:
            await line.start()
        await self.core.start()

    async def depart(self) -> None:
        """See `services.service.Departing`: other balancers take its share over at once."""
        await self.core.leave()

    async def stop(self) -> None:
        """Ends polls, revocations and connections; what is open stays in the journal."""
        await self.core.stop()
        for line in self._lines:
            await line.stop()

    async def _route(self, request: Asked) -> web.Response:
        with Timed(self._metrics.request_duration_s):
            return await self._routed(request)

    async def _routed(self, request: Asked) -> web.Response:
        deadline_s = self._deadline_s(request)
        batch, forwarded = await read_messages(request, ChargeRequest), FORWARDED in request.headers
        if batch.is_array:
            answers = await asyncio.gather(*(self._answer(item, deadline_s, forwarded) for item in batch.items))
            return json_response([_element(answer) for answer in answers])
        return _response(await self._answer(batch.items[0], deadline_s, forwarded), 202)

    async def _answer(self, item: ChargeRequest | Problem, deadline_s: float, forwarded: bool) -> Answer:
        if isinstance(item, Problem):
            answer: Answer = item
        else:
            item, request_id = _identified(item)
            answer = _named(await self._decide(item, deadline_s, forwarded), request_id)
        outcome = _outcome(answer)
        self._outcomes[outcome] += 1
        self._metrics.requests.labels(outcome).inc()
        return answer

    async def _decide(self, item: ChargeRequest, deadline_s: float, forwarded: bool) -> Answer:
        if self.core.recovery.stuck:
            return self.core.recovery.problem
        return await self.core.forwarding.answer(item, deadline_s, forwarded)

    async def _request(self, request: web.Request) -> web.Response:
        request_id = _name(request.match_info["request_id"])
        if self.core.recovery.stuck:
            return problem_response(self.core.recovery.problem)
        forwarded = FORWARDED in request.headers
        REQUEST_ID.set(request_id)
        answer = await self.core.forwarding.follow(request.method, request_id, self._deadline_s(request), forwarded)
        return _response(answer, 200)

    def _deadline_s(self, request: Asked) -> float:
        return self._now_s() + time_left_s(request.headers, self._settings.request_timeout_s)

    async def _reports(self, request: web.Request) -> web.Response:
        pushed = read_push(await read_body(request))
        account = self.ledger.get(pushed.substation)
        if account is None:
            raise ProblemError(Problem(404, f"no substation is called {pushed.substation[:80]}", "unknown-substation"))
        if account.fold(pushed.report, -math.inf, self._now_s()):
            self.core.watch.look(pushed.substation)
        return web.Response(status=204)

    async def _peers(self, request: web.Request) -> web.Response:
        note = read_note(await read_body(request))
        if isinstance(note, Problem):
            raise ProblemError(note)
        return json_response(self.core.told(note).model_dump())

    async def _status(self, _: web.Request) -> web.Response:
        return json_response(status.document(self.ledger, self._now_s(), self.core.members))

    async def _targets(self, _: web.Request) -> web.Response:
        return json_response(to_http_sd((account.target for account in self.ledger), self._settings.cluster))

    async def _decisions(self, request: web.Request) -> web.Response:
        request_id = _name(request.query.get("request_id", ""))
        return json_response({"policy": self._settings.policy, **self.placer.decisions.document(request_id)})


def _name(request_id: str) -> str:
    if not is_name(request_id):
        raise ProblemError(bad_fields((FieldFault("request_id", f"must be {NAME_RULE}", request_id[:80]),)))
    return request_id


def _identified(item: ChargeRequest) -> tuple[ChargeRequest, str]:
    """`item` with its `request_id`, which is made where it has none."""
    if item.request_id is not None:
        return item, item.request_id
    request_id = new_id()
    return item.model_copy(update={"request_id": request_id}), request_id


def _named(answer: Answer, request_id: str) -> Answer:
    """`answer` with the `request_id` where it refuses; that of a 202 says it anyway."""
    if isinstance(answer, Problem):
        return answer.about(request_id)
    if isinstance(answer, Passed) and answer.status >= 400:
        return replace(answer, body={**answer.body, "request_id": request_id})
    return answer


def _response(answer: Answer, status: int) -> web.Response:
    if isinstance(answer, Problem):
        return problem_response(answer)
    if isinstance(answer, Passed):
        return _passed(answer)
    return json_response(answer, status)


def _passed(answer: Passed) -> web.Response:
    if answer.status < 400:
        return json_response(answer.body, answer.status)
    wait_s = answer.body.get("retry_after_s")
    headers = {"Retry-After": str(whole_seconds(wait_s))} if isinstance(wait_s, int | float) else {}
    return web.Response(status=answer.status, body=to_json(answer.body), content_type=CONTENT_TYPE, headers=headers)


def _outcome(answer: Answer) -> str:
    if isinstance(answer, Passed):
        return "forwarded"
    if not isinstance(answer, Problem):
        return "queued" if answer["response"]["status"] == "queued" else "accepted"
    if answer.reason in _ELSEWHERE:
        return "forwarded"
    return "refused" if answer.reason in REFUSED else _OUTCOMES.get(answer.status, "failed")


def _element(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Problem):
        return {"status_code": answer.status, **answer.body()}
    if isinstance(answer, Passed):
        return {"status_code": answer.status, **answer.body}
    return {"status_code": 202, **answer}


def create(settings: BalancerSettings, clock: Clock, random: Random, token: Token | None = None) -> BalancerService:
    """The service of role `balancer`; Invalid for an unknown policy."""
    return BalancerService(settings, clock, random, token=token)
