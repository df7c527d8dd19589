"""Several balancers, and one that crashes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from tests.services.balancer.cases.asking import bodies, fellows_of
from tests.services.balancer.cases.spoiling import (
    PassOn,
    prefer_the_second,
    two_of_which_the_first_is_preferred,
)
from tests.services.balancer.promises import expect_kept, of_services
from tests.services.grid import a_grid, until


@pytest.mark.parametrize("balancers", [2, 4])
async def test_one_id_is_posted_to_two_balancers_at_once(balancers: int) -> None:
    """One id posted to two balancers at once, and again: all give one answer, and there is one session."""
    async with AsyncExitStack() as stack:
        grid = await stack.enter_async_context(a_grid())
        stations = [await grid.substation(f"substation{number}") for number in (1, 2, 3)]
        fellows = await fellows_of(stack, grid, balancers)
        for number in range(12):
            ids = {"ev_id": f"EV{number}", "request_id": f"r{number}"}
            asked = [fellows.ask(each, **ids) for each in range(balancers) for _ in range(2)]
            answers = await bodies(await asyncio.gather(*asked))
            assert len({answer["routed_to"] for answer in answers}) == 1
        assert sum(station.admission.sessions for station in stations) == 12
        expect_kept(of_services(*stations), [f"r{number}" for number in range(12)])


async def test_one_id_is_posted_to_two_balancers_at_once_where_all_is_full() -> None:
    """One id posted to two balancers at once: for the last place one of many gets it, and both are told the same."""
    async with AsyncExitStack() as stack:
        grid = await stack.enter_async_context(a_grid())
        station = await grid.substation("substation1", max_sessions=1)
        fellows = await fellows_of(stack, grid, 2)
        asked = [fellows.ask(each, f"EV{n}", request_id=f"r{n}") for n in range(6) for each in (0, 1)]
        answers = await asyncio.gather(*asked)
        pairs = {(one.status, two.status) for one, two in zip(answers[::2], answers[1::2], strict=True)}
        assert pairs == {(202, 202), (503, 503)}
        expect_kept(of_services(station), {body["request_id"] for body in await bodies(answers) if "routed_to" in body})


async def test_a_balancer_crashes_with_assumptions_open_and_another_takes_over() -> None:
    """A balancer crash with assumptions open: the one that takes over finds what its sessions became."""
    gate = asyncio.Event()

    async def late(_: web.Request, pass_on: PassOn) -> web.StreamResponse:
        answer = await pass_on()
        await gate.wait()
        return answer

    async with AsyncExitStack() as stack:
        grid = await stack.enter_async_context(a_grid())
        stations = await two_of_which_the_first_is_preferred(grid, late, times=4)
        fellows = await fellows_of(stack, grid, 2)
        evs = fellows.evs(1, 4)
        asking = [asyncio.ensure_future(fellows.ask(1, ev_id, request_id=f"r-{ev_id}")) for ev_id in evs]
        await until(lambda: stations[0].admission.sessions == 4)
        await fellows.kill(1)
        await prefer_the_second(grid)
        await asyncio.gather(*asking, return_exceptions=True)
        again = await bodies(await asyncio.gather(*(fellows.ask(0, ev_id, request_id=f"r-{ev_id}") for ev_id in evs)))
        assert [body["routed_to"] for body in again] == ["substation1"] * 4
        assert [station.admission.sessions for station in stations] == [4, 0]
        expect_kept(of_services(*stations), [f"r-{ev_id}" for ev_id in evs])
        gate.set()


async def test_what_a_dead_balancer_sent_arrives_after_another_took_over() -> None:
    """A balancer crash with assumptions open: its charge that comes late is refused by the fence, and starts nothing."""
    gate, arrived, came_late = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop().create_future()

    async def underway(_: web.Request, pass_on: PassOn) -> web.StreamResponse:
        arrived.set()
        await gate.wait()
        answer = await pass_on()
        came_late.set_result(answer.status)
        return answer

    async with AsyncExitStack() as stack:
        grid = await stack.enter_async_context(a_grid())
        stations = await two_of_which_the_first_is_preferred(grid, underway, times=1)
        fellows = await fellows_of(stack, grid, 2)
        ev_id = fellows.evs(1, 1)[0]
        asking = asyncio.ensure_future(fellows.ask(1, ev_id, request_id="r1"))
        await arrived.wait()
        await fellows.kill(1)
        again = await fellows.ask(0, ev_id, request_id="r1")
        assert again.status == 202
        placed = [station.admission.sessions for station in stations]
        gate.set()
        assert await came_late == 410
        assert [station.admission.sessions for station in stations] == placed
        await asyncio.gather(asking, return_exceptions=True)
        expect_kept(of_services(*stations), ["r1"])


async def test_a_balancer_crashes_with_assumptions_open() -> None:
    """A balancer crash with assumptions open: the next one finds what its sessions became, and places none twice."""
    gate = asyncio.Event()

    async def late(_: web.Request, pass_on: PassOn) -> web.StreamResponse:
        answer = await pass_on()
        await gate.wait()
        return answer

    async with a_grid() as grid:
        stations = await two_of_which_the_first_is_preferred(grid, late, times=4)
        async with a_grid() as first:
            first.urls = grid.urls
            await first.balancer("substation1", "substation2")
            asking = [asyncio.ensure_future(first.route(f"EV{n}", request_id=f"r{n}")) for n in range(4)]
            await until(lambda: stations[0].admission.sessions == 4)
        for each in asking:
            each.cancel()
        await prefer_the_second(grid)
        await grid.balancer("substation1", "substation2")
        again = await bodies([await grid.route(f"EV{number}", request_id=f"r{number}") for number in range(4)])
        assert [body["routed_to"] for body in again] == ["substation1"] * 4
        assert [station.admission.sessions for station in stations] == [4, 0]
        expect_kept(of_services(*stations), [f"r{number}" for number in range(4)])
        gate.set()
