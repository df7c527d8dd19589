"""The charge-request service on the streams to its balancers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from aiohttp import web

from config.settings import BalancerSettings, SubstationSettings
from services.balancer.service import BalancerService
from services.clock import SystemClock
from services.http import application
from services.stream.member import Member
from services.stream.wire import PATH
from services.substation.service import SubstationService
from services.traffic import Traffic
from tests.services.charge_request.fronts import ingress
from tests.services.grid import Grid, a_grid, until


async def _count_paths(grid: Grid, name: str, app: web.Application) -> Counter[str]:
    paths: Counter[str] = Counter()

    @web.middleware
    async def counted(request: web.Request, handler: Any) -> web.StreamResponse:
        paths[request.path] += 1
        response: web.StreamResponse = await handler(request)
        return response

    app.middlewares.insert(0, counted)
    await grid.serve_app(name, app)
    return paths


async def _counted_balancer(grid: Grid) -> tuple[BalancerService, Counter[str], Traffic]:
    texts = (f"substation1={grid.urls['substation1']}",)
    service, traffic = BalancerService(BalancerSettings(seed=1, substations=texts), SystemClock(), Random(1)), Traffic()
    await service.start()
    paths = await _count_paths(grid, "balancer", application(service, traffic))
    await until(lambda: service.health().status == "ok")
    return service, paths, traffic


async def test_requests_and_elements_of_arrays_go_to_the_balancer_on_one_connection() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1", max_sessions=1000)
        balancer, paths, _ = await _counted_balancer(grid)
        await ingress(grid, grid.urls["balancer"])
        one = asyncio.gather(*(grid.post("charge-request", "/charge", {"ev_id": f"A{each}"}) for each in range(20)))
        several = await grid.post("charge-request", "/charge", [{"ev_id": f"B{each}"} for each in range(100)])
        assert {answer.status for answer in await one} == {202}
        assert {each["status_code"] for each in await several.json()} == {202}
        assert (paths[PATH], paths["/route"]) == (1, 0)
        assert balancer.health().fields["accepted_total"] == 120
        await balancer.stop()


async def test_a_balancer_that_stops_is_asked_no_more_on_its_stream_and_answers_what_it_has() -> None:
    async with a_grid() as grid:
        slow = SlowSubstation()
        await grid.serve(slow)
        balancer, paths, traffic = await _counted_balancer(grid)
        await ingress(grid, grid.urls["balancer"])
        waiting = asyncio.ensure_future(grid.post("charge-request", "/charge", {"ev_id": "EV1"}))
        await until(lambda: slow.held == 1 and traffic.in_flight == 1)
        traffic.stop()
        later = asyncio.ensure_future(grid.post("charge-request", "/charge", {"ev_id": "EV2"}))
        await until(lambda: slow.held == 2)
        assert paths[PATH] == 2, "what comes now goes elsewhere: here, to the same one"
        slow.gate.set()
        assert [(await each).status for each in (waiting, later)] == [202, 202]
        await until(lambda: traffic.in_flight == 0)
        await balancer.stop()


async def test_a_slow_request_delays_no_other_of_its_batch_through_all_three_hops() -> None:
    async with a_grid() as grid:
        slow = SlowSubstation(only=b'"slow"')
        await grid.serve(slow)
        balancer, paths, _ = await _counted_balancer(grid)
        await ingress(grid, grid.urls["balancer"])
        evs = ["slow", *(f"EV{number}" for number in range(30))]
        asked = [asyncio.ensure_future(grid.post("charge-request", "/charge", {"ev_id": ev_id})) for ev_id in evs]
        assert {(await each).status for each in asked[1:]} == {202}
        assert (slow.held, asked[0].done()) == (1, False)
        slow.gate.set()
        assert (await asked[0]).status == 202
        assert (paths[PATH], paths["/route"]) == (1, 0), "all went on one connection"
        await balancer.stop()


class SlowSubstation(SubstationService):
    """Takes nothing up before `gate` opens, or nothing in which `only` stands; `held` is how many of these came."""

    def __init__(self, only: bytes = b"") -> None:
        super().__init__(SubstationSettings(name="substation1", max_sessions=100), SystemClock(), Random())
        self.gate = asyncio.Event()
        self.held = 0
        self._only = only
        self._tasks: list[asyncio.Task[None]] = []

    def take(self, members: Sequence[Member], headers: Mapping[str, str]) -> None:
        held = [member for member in members if self._only in member.body]
        self.held += len(held)
        super().take([member for member in members if member not in held], headers)
        if held:
            self._tasks.append(asyncio.ensure_future(self._later(held, headers)))

    async def _later(self, members: Sequence[Member], headers: Mapping[str, str]) -> None:
        await self.gate.wait()
        super().take(members, headers)
