"""A whole grid in one event loop: real services on real sockets, and third parties that misbehave in every way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

from aiohttp import ClientResponse, ClientSession, web

from config.settings import BalancerSettings, SubstationSettings
from services.balancer.service import BalancerService
from services.clock import SystemClock
from services.http import application
from services.service import Service
from services.substation.service import SubstationService
from services.traffic import Traffic

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


#: What a busy machine may add to any bound on time (wall seconds).
BUSY_S = 3.0


async def until(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    """Waits for `condition`; AssertionError once `within_s` passed."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + within_s
    while not condition():
        assert loop.time() < end_s, "it did not come true in time"
        await asyncio.sleep(0.005)


class Grid:
    """What tests hold: start services with `serve`, ask them with `post` and `get`."""

    def __init__(self, stack: AsyncExitStack, client: ClientSession) -> None:
        self._stack = stack
        self.client = client
        self.urls: dict[str, str] = {}

    async def serve(self, service: Service, port: int | None = None) -> str:
        """Serves `service` until the test ends; its URL."""
        await service.start()
        self._stack.push_async_callback(service.stop)
        return await self.serve_app(service.name, application(service, Traffic()), port)

    async def serve_app(self, name: str, app: web.Application, port: int | None = None) -> str:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", port or 0)
        await site.start()
        host, chosen = runner.addresses[0][:2]
        self.urls[name] = f"http://{host}:{chosen}"
        return self.urls[name]

    async def substation(
        self, name: str, port: int | None = None, time_scale: float = 1.0, **limits: Any
    ) -> SubstationService:
        settings = SubstationSettings(name=name, time_scale=time_scale, **limits)
        service = SubstationService(settings, SystemClock(time_scale), Random())
        await self.serve(service, port)
        return service

    async def serve_substation(self, name: str) -> str:
        """Like `substation`; its URL."""
        await self.substation(name)
        return self.urls[name]

    async def third_party(self, name: str, charge: Respond, metrics: Respond | None = None) -> str:
        """A server that is none of ours, behind `POST /charge` and `GET /metrics`."""
        app = web.Application()
        app.router.add_post("/charge", charge)
        if metrics is not None:
            app.router.add_get("/metrics", metrics)
        return await self.serve_app(name, app)

    async def balancer(
        self, *substations: str, ready: bool = True, port: int | None = None, **settings: Any
    ) -> BalancerService:
        """A balancer over `substations`: names of what is served here, or texts as in SUBSTATIONS."""
        texts = tuple(f"{name}={self.urls[name]}" if name in self.urls else name for name in substations)
        chosen = BalancerSettings(**{"seed": 1, "poll_interval_s": 60.0, "substations": texts, **settings})
        service = BalancerService(chosen, SystemClock(chosen.time_scale), Random(chosen.seed))
        await self.serve(service, port)
        if ready:
            await until(lambda: service.health().status == "ok")
        return service

    async def post(self, service: str, path: str, json: Any, **more: Any) -> ClientResponse:
        answer = await self.client.post(self.urls[service] + path, json=json, **more)
        await answer.read()
        return answer

    async def get(self, service: str, path: str) -> Any:
        async with self.client.get(self.urls[service] + path) as answer:
            return await (answer.json() if answer.content_type == "application/json" else answer.text())

    async def route(self, ev_id: str = "EV1", **fields: Any) -> ClientResponse:
        return await self.post("balancer", "/route", {"ev_id": ev_id, **fields})


@asynccontextmanager
async def a_grid() -> AsyncIterator[Grid]:
    """A grid, all of which is gone afterwards."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(ClientSession())
        yield Grid(stack, client)
