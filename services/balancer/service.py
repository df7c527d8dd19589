"""The load balancer over HTTP: `POST /route`, `GET /status`. Must not know who launched it or how anything is decided."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from config.access import Token
from config.gossip import read_note
from config.messages import ChargeRequest
from config.names import BALANCER, NAME_RULE, is_name
from config.problems import FieldFault, Problem, bad_fields
from config.settings import BalancerSettings
from monitoring.metrics import BalancerMetrics
from services.balancer import replies, status
from services.balancer.core import Core
from services.balancer.forwarding import Answer
from services.balancer.line import HttpLine, Line
from services.balancer.lookout import SYSTEM, Dns
from services.balancer.peers import FORWARDED, HttpPeerLine, PeerLine
from services.balancer.push import read_push
from services.balancer.taking import Taking, identified
from services.balancer.targets import to_http_sd
from services.clock import Clock
from services.deadline import time_left_s
from services.http import read_body, read_messages
from services.journal import Journal, OpenJournal
from services.problem import ProblemError, json_response, problem_response
from services.service import Asked, Health
from services.stream.member import Member, fail
from services.tracing import CURRENT, REQUEST_ID, Timed


class BalancerService:
    """One balancer; see services.service.Service. Tests may put fakes for its ways to substations and other balancers,
    for its journal and for DNS."""

    role = BALANCER
    streamed = "/route"

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
        self._taken: set[asyncio.Task[None]] = set()
        self.core = Core(settings, clock, random, self._metrics, *self._lines, open_journal, dns)
        self._taking = Taking(self.core.swift, self._metrics, self._now_s, self._otherwise)
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
        fields: dict[str, Any] = {
            f"{name}_total": self._taking.outcomes.get(name, 0) for name in ("accepted", "refused", "failed")
        }
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
            return json_response([replies.element(answer) for answer in answers])
        return replies.response(await self._answer(batch.items[0], deadline_s, forwarded), 202)

    async def _answer(self, item: ChargeRequest | Problem, deadline_s: float, forwarded: bool) -> Answer:
        if isinstance(item, Problem):
            answer: Answer = item
        else:
            item, request_id = identified(item)
            answer = replies.named(await self._decide(item, deadline_s, forwarded), request_id)
        self._taking.count(replies.outcome(answer))
        return answer

    async def _decide(self, item: ChargeRequest, deadline_s: float, forwarded: bool) -> Answer:
        if self.core.recovery.stuck:
            return self.core.recovery.problem
        return await self.core.forwarding.answer(item, deadline_s, forwarded)

    def take(self, members: Sequence[Member], headers: Mapping[str, str]) -> None:  # noqa: ARG002  of no use here
        """See `services.stream.streaming.Streaming`: requests that nobody passed on before."""
        self._taking.take(members)

    def _otherwise(self, member: Member, item: ChargeRequest | Problem, deadline_s: float) -> None:
        task = asyncio.get_running_loop().create_task(self._member(member, item, deadline_s))
        self._taken.add(task)
        task.add_done_callback(self._taken.discard)

    async def _member(self, member: Member, item: ChargeRequest | Problem, deadline_s: float) -> None:
        CURRENT.set(member.span)
        try:
            with Timed(self._metrics.request_duration_s):
                answer = await self._answer(item, deadline_s, forwarded=False)
        except Exception:  # noqa: BLE001  the last line of this task
            fail([member])
        else:
            replies.tell(member, answer)

    async def _request(self, request: web.Request) -> web.Response:
        request_id = _name(request.match_info["request_id"])
        if self.core.recovery.stuck:
            return problem_response(self.core.recovery.problem)
        forwarded = FORWARDED in request.headers
        REQUEST_ID.set(request_id)
        answer = await self.core.forwarding.follow(request.method, request_id, self._deadline_s(request), forwarded)
        return replies.response(answer, 200)

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


def create(settings: BalancerSettings, clock: Clock, random: Random, token: Token | None = None) -> BalancerService:
    """The service of role `balancer`; Invalid for an unknown policy."""
    return BalancerService(settings, clock, random, token=token)
