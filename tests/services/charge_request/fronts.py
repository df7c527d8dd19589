"""Starts charge-request services before what a test gives them. Must not ask them anything."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from config.settings import ChargeRequestSettings
from services.charge_request.service import ChargeRequestService
from services.clock import SystemClock
from tests.services.grid import Grid, Respond

NOWHERE = "http://127.0.0.1:9"


async def ingress(grid: Grid, *balancers: str, timeout_s: float = 10.0) -> None:
    settings = ChargeRequestSettings(balancers=balancers, request_timeout_s=timeout_s)
    await grid.serve(ChargeRequestService(settings, SystemClock()))


async def whole(grid: Grid, timeout_s: float = 10.0, **limits: Any) -> None:
    await grid.substation("substation1", **limits)
    await grid.balancer("substation1", request_timeout_s=timeout_s)
    await ingress(grid, grid.urls["balancer"], timeout_s=timeout_s)


async def pretender(grid: Grid, route: Respond) -> str:
    app = web.Application()
    app.router.add_post("/route", route)
    return await grid.serve_app("fake", app)
