"""The charge-request service over HTTP: what clients talk to. Must not know substations or how one is chosen."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from config.access import Token
from config.messages import Batch, ChargeRequest
from config.names import CHARGE_REQUEST, NAME_RULE, is_name, new_id
from config.problems import FieldFault, Problem, bad_fields
from config.settings import ChargeRequestSettings
from monitoring.metrics import ChargeRequestMetrics
from services.charge_request.desk import Desk
from services.charge_request.forward import Forward
from services.charge_request.reply import Reply, element, named, passed_on
from services.charge_request.swift import Swift, sent
from services.clock import Clock
from services.http import read_messages
from services.openapi import document
from services.problem import ProblemError, json_response, problem_response, to_json
from services.service import Asked, Begin, Health
from services.tracing import REQUEST_ID, Timed
from services.whole import IDEMPOTENCY_KEY

_log = logging.getLogger(__name__)


class ChargeRequestService:
    """One charge-request service, stateless; see services.service.Service."""

    role = CHARGE_REQUEST

    def __init__(self, settings: ChargeRequestSettings, clock: Clock, token: Token | None = None) -> None:
        self.name = settings.name
        self.registry = CollectorRegistry()
        self.stop_timeout_s = settings.request_timeout_s
        self._now_s = clock.monotonic_s
        self._forward = Forward(settings.balancers, self._now_s, token)
        self._metrics = ChargeRequestMetrics(self.registry)
        self._desk = Desk(self._metrics, settings.request_timeout_s)
        self._swift = Swift(self._forward, self._desk, self._now_s)

    def routes(self) -> Sequence[web.RouteDef]:
        """`/charge`, the same as `/request-charge`, `/requests/…` to follow and cancel, and `/openapi.json`."""
        return [
            web.post("/charge", self._charge),
            web.post("/request-charge", self._charge),
            web.get("/requests/{request_id}", self._request, allow_head=False),
            web.delete("/requests/{request_id}", self._request),
            web.get("/openapi.json", self._describe),
        ]

    def frequented(self) -> Mapping[str, Callable[[Asked], Awaitable[web.Response]]]:
        """`/charge` and `/request-charge`."""
        return {"/charge": self._charge, "/request-charge": self._charge}

    def prompt(self) -> Mapping[str, Begin]:
        """The same."""
        return {"/charge": self._swift.begin, "/request-charge": self._swift.begin}

    def headers(self) -> Mapping[str, str]:
        """None of its own."""
        return {}

    def health(self) -> Health:
        """Its answers by status since it started."""
        return Health("ok", {"requests_total": self._desk.statuses})

    def command(self, order: Mapping[str, Any]) -> None:
        """Knows no verb."""

    async def start(self) -> None:
        """Opens the pool of connections."""
        await self._forward.start()

    async def stop(self) -> None:
        """Closes it."""
        await self._forward.stop()

    async def _charge(self, request: Asked) -> web.Response:
        with Timed(self._metrics.request_duration_s):
            return await self._charged(request)

    async def _charged(self, request: Asked) -> web.Response:
        now_s, desk = self._now_s(), self._desk
        number = None
        try:
            number = self._hold(request, now_s)
            response = await self._answer(request, now_s + desk.usable_s)
        except ProblemError as raised:
            response = problem_response(raised.problem)
            desk.count(response.status, raised.problem.reason)
        except web.HTTPException as error:
            desk.count(error.status)
            raise
        except Exception:
            desk.count(500, "internal-error")
            raise
        finally:
            if number is not None:
                desk.release(number)
        return response

    def _hold(self, request: Asked, now_s: float) -> int:
        if self._desk.is_crowded(now_s):
            raise ProblemError(_busy(request.headers.get(IDEMPOTENCY_KEY, "")))
        return self._desk.hold(now_s)

    async def _answer(self, request: Asked, deadline_s: float) -> web.Response:
        batch = await read_messages(request, ChargeRequest)
        if batch.is_array:
            return json_response(await self._several(batch, deadline_s))
        item = batch.items[0]
        reply = item if isinstance(item, Problem) else await self._ask(item, deadline_s)
        self._desk.count(reply.status, reply.reason)
        return passed_on(reply)

    async def _ask(self, item: ChargeRequest, deadline_s: float) -> Reply | Problem:
        request_id, body = sent(item, item.request_id)
        REQUEST_ID.set(request_id)
        return named(await self._forward.send(body, deadline_s), request_id)

    async def _several(self, batch: Batch[ChargeRequest], deadline_s: float) -> list[dict[str, Any]]:
        """The answers to an array, in order; each element goes its own way, with all that waits."""
        replies = await asyncio.gather(*(self._one(item, deadline_s) for item in batch.items))
        for reply in replies:
            self._desk.count(reply.status, reply.reason)
        return [element(reply) for reply in replies]

    async def _one(self, item: ChargeRequest | Problem, deadline_s: float) -> Reply | Problem:
        return item if isinstance(item, Problem) else await self._ask(item, deadline_s)

    async def _request(self, request: web.Request) -> web.Response:
        request_id = request.match_info["request_id"]
        if not is_name(request_id):
            raise ProblemError(bad_fields((FieldFault("request_id", f"must be {NAME_RULE}", request_id[:80]),)))
        deadline_s = self._now_s() + self._desk.usable_s
        REQUEST_ID.set(request_id)
        reply = named(await self._forward.follow(request.method, request_id, deadline_s), request_id)
        return passed_on(reply)

    async def _describe(self, _: web.Request) -> web.Response:
        return web.Response(body=_description(), content_type="application/json")


@functools.cache
def _description() -> bytes:
    """Made when first asked for: that takes longer than all else at a start."""
    return to_json(document())


def _busy(key: str) -> Problem:
    """The answer to a request that is not even read: only its header may name it, else it is given a name here."""
    request_id = key if is_name(key) else new_id()
    REQUEST_ID.set(request_id)
    problem = Problem(503, "too many requests are waiting here", "busy", retry_after_s=1.0)
    _log.info("refused", extra={"reason": problem.reason})
    return problem.about(request_id)


def create(
    settings: ChargeRequestSettings,
    clock: Clock,
    random: Random,  # noqa: ARG001
    token: Token | None = None,
) -> ChargeRequestService:
    """The service of role `charge-request`; it needs no chance."""
    return ChargeRequestService(settings, clock, token)
