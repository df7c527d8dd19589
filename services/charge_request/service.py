"""The charge-request service over HTTP: what clients talk to. Must not know substations or how one is chosen."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import Counter
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
from monitoring.metrics import FAILURES, REFUSED, ChargeRequestMetrics
from services.charge_request.forward import Forward, Reply
from services.clock import Clock
from services.deadline import time_left_s
from services.http import IDEMPOTENCY_KEY, read_messages
from services.openapi import document
from services.problem import ProblemError, json_response, problem_response, to_json
from services.service import Asked, Health
from services.tracing import REQUEST_ID, Timed

#: More HTTP requests than this are not held at a time.
MOST_IN_FLIGHT = 10_000
#: Where so many are held, and the oldest has waited for half of its time, new ones are refused at once: they would be
#: answered too late, as would those after them, and nobody in the end.
CROWD = 64

_log = logging.getLogger(__name__)


class ChargeRequestService:
    """One charge-request service, stateless; see services.service.Service."""

    role = CHARGE_REQUEST

    def __init__(self, settings: ChargeRequestSettings, clock: Clock, token: Token | None = None) -> None:
        self.name = settings.name
        self.registry = CollectorRegistry()
        self.stop_timeout_s = settings.request_timeout_s
        self._timeout_s = settings.request_timeout_s
        self._now_s = clock.monotonic_s
        self._forward = Forward(settings.balancers, self._now_s, token)
        self._metrics = ChargeRequestMetrics(self.registry)
        self._statuses: Counter[str] = Counter()
        self._held_since_s: dict[int, float] = {}
        self._number = 0

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

    def headers(self) -> Mapping[str, str]:
        """None of its own."""
        return {}

    def health(self) -> Health:
        """Its answers by status since it started."""
        return Health("ok", {"requests_total": dict(self._statuses)})

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
        number = self._number
        self._number += 1
        try:
            response = await self._answer(request, number)
        except ProblemError as raised:
            response = problem_response(raised.problem)
            self._count(response.status, raised.problem.reason)
        except web.HTTPException as error:
            self._count(error.status)
            raise
        except Exception:
            self._count(500, "internal-error")
            raise
        finally:
            self._held_since_s.pop(number, None)
        return response

    async def _answer(self, request: Asked, number: int) -> web.Response:
        now_s = self._now_s()
        deadline_s = now_s + time_left_s({}, self._timeout_s)
        if self._is_crowded(now_s):
            raise ProblemError(_busy(request.headers.get(IDEMPOTENCY_KEY, "")))
        self._held_since_s[number] = now_s
        batch = await read_messages(request, ChargeRequest)
        if batch.is_array:
            return json_response(await self._several(batch, deadline_s))
        item = batch.items[0]
        reply = item if isinstance(item, Problem) else await self._ask(item, deadline_s)
        self._count(reply.status, reply.reason)
        return problem_response(reply) if isinstance(reply, Problem) else _passed_on(reply)

    async def _ask(self, item: ChargeRequest, deadline_s: float) -> Reply | Problem:
        request_id, body = _sent(item)
        REQUEST_ID.set(request_id)
        return _named(await self._forward.send(body, deadline_s), request_id)

    def _is_crowded(self, now_s: float) -> bool:
        held = self._held_since_s
        if len(held) < CROWD:
            return False
        return len(held) >= MOST_IN_FLIGHT or now_s - next(iter(held.values())) > self._timeout_s / 2

    async def _several(self, batch: Batch[ChargeRequest], deadline_s: float) -> list[dict[str, Any]]:
        """The answers to an array, in order; each element goes its own way, with all that waits."""
        replies = await asyncio.gather(*(self._one(item, deadline_s) for item in batch.items))
        for reply in replies:
            self._count(reply.status, reply.reason)
        return [_element(reply) for reply in replies]

    async def _one(self, item: ChargeRequest | Problem, deadline_s: float) -> Reply | Problem:
        return item if isinstance(item, Problem) else await self._ask(item, deadline_s)

    async def _request(self, request: web.Request) -> web.Response:
        request_id = request.match_info["request_id"]
        if not is_name(request_id):
            raise ProblemError(bad_fields((FieldFault("request_id", f"must be {NAME_RULE}", request_id[:80]),)))
        deadline_s = self._now_s() + time_left_s({}, self._timeout_s)
        REQUEST_ID.set(request_id)
        reply = _named(await self._forward.follow(request.method, request_id, deadline_s), request_id)
        return problem_response(reply) if isinstance(reply, Problem) else _passed_on(reply)

    def _count(self, status: int, reason: str = "") -> None:
        self._statuses[str(status)] += 1
        self._metrics.requests.labels(str(status)).inc()
        if status >= 500 and reason not in REFUSED:
            self._metrics.failures.labels(_failure(reason)).inc()

    async def _describe(self, _: web.Request) -> web.Response:
        return web.Response(body=_description(), content_type="application/json")


@functools.cache
def _description() -> bytes:
    """Made when first asked for: that takes longer than all else at a start."""
    return to_json(document())


def _sent(item: ChargeRequest) -> tuple[str, bytes]:
    """The `request_id` of `item`, which is made where it has none, and all of it as JSON."""
    body = item.model_dump_json(exclude_none=True).encode()
    if item.request_id is not None:
        return item.request_id, body
    request_id = new_id()
    return request_id, b'{"request_id":"%b",%b' % (request_id.encode(), body[1:])


def _busy(key: str) -> Problem:
    """The answer to a request that is not even read: only its header may name it, else it is given a name here."""
    request_id = key if is_name(key) else new_id()
    REQUEST_ID.set(request_id)
    problem = Problem(503, "too many requests are waiting here", "busy", retry_after_s=1.0)
    _log.info("refused", extra={"reason": problem.reason})
    return problem.about(request_id)


def _named(reply: Reply | Problem, request_id: str) -> Reply | Problem:
    """`reply` with the `request_id` where it is a problem: a balancer that did not read the request knows none."""
    if isinstance(reply, Problem):
        return reply.about(request_id)
    if reply.status < 400 or "request_id" in reply.said:
        return reply
    said = {**reply.said, "request_id": request_id}
    return reply._replace(said=said, body=to_json(said))


def _failure(reason: str) -> str:
    """What `charge_request_failures_total` counts it as."""
    return next((word for word in FAILURES if reason == word or reason.startswith(f"{word}-")), "other")


def _element(reply: Reply | Problem) -> dict[str, Any]:
    return {"status_code": reply.status, **(reply.body() if isinstance(reply, Problem) else reply.said)}


def _passed_on(reply: Reply) -> web.Response:
    headers = {} if reply.retry_after is None else {"Retry-After": reply.retry_after}
    return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type, headers=headers)


def create(
    settings: ChargeRequestSettings,
    clock: Clock,
    random: Random,  # noqa: ARG001
    token: Token | None = None,
) -> ChargeRequestService:
    """The service of role `charge-request`; it needs no chance."""
    return ChargeRequestService(settings, clock, token)
