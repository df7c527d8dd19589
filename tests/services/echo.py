"""A service that answers what it read, for tests of what all services share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from config.messages import ChargeRequest
from config.problems import Problem
from services.http import read_messages
from services.problem import ProblemError, json_response, to_json
from services.service import Asked, Begin, Drop, Health, Tell
from services.tracing import REQUEST_ID, Tracer
from services.whole import Whole, read_one


class Echo:
    """Its health, and whether `/slow` may answer, are the test's to set."""

    name = "echo1"
    role = "substation"

    def __init__(self, stop_timeout_s: float = 5.0) -> None:
        self.registry = CollectorRegistry()
        self.stop_timeout_s = stop_timeout_s
        self.told = Health()
        self.is_instant = True
        self.orders: list[Mapping[str, Any]] = []
        self.life: list[str] = []
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.begun: list[Callable[[], None]] = []
        self.dropped: list[str] = []
        Counter("echo_requests", "Requests.", registry=self.registry).inc()

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.post("/echo", self._echo),
            web.get("/bug", self._bug),
            web.get("/bug/{request_id}", self._bug),
            web.get("/gone", self._gone),
            web.get("/look", self._look),
            web.post("/hotbug", self._bug),
            web.post("/hotgone", self._gone),
            web.post("/slow", self._slow),
            web.post("/prompt", self._prompt),
        ]

    def frequented(self) -> Mapping[str, Callable[[Asked], Awaitable[web.Response]]]:
        return {
            "/echo": self._echo,
            "/slow": self._slow,
            "/hotbug": self._bug,
            "/hotgone": self._gone,
            "/prompt": self._prompt,
        }

    def prompt(self) -> Mapping[str, Begin]:
        return {"/prompt": self._begin}

    def glanced(self) -> Mapping[str, Callable[[Asked], Awaitable[web.Response]]]:
        return {"/look": self._look}

    def instant(self) -> Mapping[str, Callable[[], bool]]:
        return {"/look": lambda: self.is_instant}

    def heard(self, request: Asked) -> None:
        if "X-Deaf" in request.headers:
            raise ProblemError(Problem(421, "not meant", "misdirected"))

    async def _look(self, _: Asked) -> web.Response:
        return web.Response(status=204)

    async def _echo(self, request: Asked) -> web.Response:
        batch = await read_messages(request, ChargeRequest)
        if not isinstance(first := next(iter(batch.items), None), Problem | None):
            REQUEST_ID.set(first.request_id or "")
        return json_response([item.detail if isinstance(item, Problem) else item.ev_id for item in batch.items])

    async def _prompt(self, request: Asked) -> web.Response:
        item = (await read_messages(request, ChargeRequest)).items[0]
        if isinstance(item, Problem):
            raise ProblemError(item)
        return json_response({"ev_id": item.ev_id}, 202)

    def _begin(self, whole: Whole, tracer: Tracer, tell: Tell) -> Drop | None:
        found = read_one(whole)
        if found is None or found[0].ev_id == "unusual":
            return None
        item, *_ = found
        self.begun.append(partial(tell, to_json({"ev_id": item.ev_id})))
        if item.ev_id != "held":
            asyncio.get_running_loop().call_soon(self.begun.pop())
        return lambda: self.dropped.append(item.ev_id)

    async def _bug(self, request: Asked) -> web.Response:
        if isinstance(request, web.Request):
            REQUEST_ID.set(request.match_info.get("request_id", ""))
        raise LookupError("this is a bug")

    async def _gone(self, _: Asked) -> web.Response:
        raise ProblemError(Problem(410, "gone", "revoked"))

    async def _slow(self, _: Asked) -> web.Response:
        self.asked.set()
        await self.may_answer.wait()
        return json_response("at last")

    def headers(self) -> Mapping[str, str]:
        return {"X-Echo": "1"}

    def health(self) -> Health:
        return self.told

    def command(self, order: Mapping[str, Any]) -> None:
        self.orders.append(order)

    async def start(self) -> None:
        self.life.append("started")

    async def stop(self) -> None:
        self.life.append("stopped")
