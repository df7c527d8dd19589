"""Balancers that name themselves are told of what nobody could foresee, at once; others are not."""

from __future__ import annotations

import asyncio
import gc
import json
from random import Random
from typing import Any

import pytest
from aiohttp import web

from config.report import Report
from config.settings import SubstationSettings
from services.clock import FakeClock
from services.substation.pushes import MOST, Pushes
from services.substation.service import SubstationService
from tests.services.grid import Grid, a_grid, until


class Balancer:
    """Takes `POST /reports` and remembers them."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    async def start(self, grid: Grid, name: str) -> str:
        app = web.Application()
        app.router.add_post("/reports", self._take)
        return await grid.serve_app(name, app)

    async def _take(self, request: web.Request) -> web.Response:
        self.told.append(await request.json())
        self.headers.append(dict(request.headers))
        return web.Response()


async def test_what_ends_early_and_new_limits_are_pushed_and_planned_ends_are_not() -> None:
    async with a_grid() as grid:
        clock, balancer, stranger = FakeClock(), Balancer(), Balancer()
        url = await balancer.start(grid, "b1")
        await stranger.start(grid, "b2")
        service = SubstationService(SubstationSettings(), clock, Random(1))
        own = await grid.serve(service)
        for path in ("/metrics", "/sessions"):
            async with grid.client.get(own + path, headers={"Grid-Balancer": url}):
                pass
        for number in range(3):
            body = {"ev_id": f"EV{number}", "request_id": f"r{number}", "duration_s": 10 * (number + 1)}
            await grid.post("substation1", "/charge", body)
        clock.jump(10)
        await grid.get("substation1", "/sessions")
        assert balancer.told == []
        async with grid.client.delete(f"{own}/sessions/r1?attempt=1"):
            pass
        await until(lambda: len(balancer.told) == 1)
        service.command({"do": "derate", "max_sessions": 3})
        service.command({"do": "drain"})
        await until(lambda: len(balancer.told) == 2)
        assert [it["substation"] for it in balancer.told] == ["substation1", "substation1"]
        first, second = (Report.decode(it["report"]) for it in balancer.told)
        assert (first.sessions, first.max_sessions, first.draining) == (1, 10, False)
        assert (second.sessions, second.max_sessions, second.draining) == (1, 3, True)
        assert second.epoch == first.epoch
        assert second.seq > first.seq
        clock.jump(61)
        service.command({"do": "undrain"})
        await grid.get("substation1", "/sessions")
        assert (len(balancer.told), stranger.told) == (2, [])


@pytest.mark.parametrize("url", ["", "ftp://h:1", "http://h:1/path", "http://u@h:1", "http://h:1 http://h:2", "//h:1"])
async def test_who_names_no_balancer_is_not_remembered(url: str) -> None:
    pushes = Pushes(lambda: 0.0, dict)
    pushes.heard({"Grid-Balancer": url})
    pushes.soon()
    assert not pushes._heard
    await pushes.stop()


async def test_only_so_many_are_remembered_and_who_does_not_answer_costs_nothing() -> None:
    pushes = Pushes(lambda: 0.0, lambda: {"x": json.dumps("y")})
    for number in range(MOST + 5):
        pushes.heard({"Grid-Balancer": f"http://127.0.0.1:{number + 1}"})
    assert len(pushes._heard) == MOST
    pushes.soon()
    await asyncio.sleep(0)
    await until(lambda: not pushes._tasks)
    await pushes.stop()


async def test_who_names_what_cannot_be_a_host_breaks_no_telling() -> None:
    async with a_grid() as grid:
        balancer, broken = Balancer(), list[dict[str, Any]]()
        url = await balancer.start(grid, "b1")
        asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
        pushes = Pushes(lambda: 0.0, lambda: {"substation": "substation1"})
        for odd in (f"http://{'a' * 70}", "http://a..b", "http://a:99999", url):
            pushes.heard({"Grid-Balancer": odd})
        pushes.soon()
        await until(lambda: len(balancer.told) == 1)
        await until(lambda: not pushes.telling)
        await pushes.stop()
        gc.collect()  # a task whose error nobody took says so when it goes
        assert broken == []
