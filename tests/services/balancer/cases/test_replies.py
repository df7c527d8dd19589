"""Replies that are lost, broken off or late."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import web

from config.messages import ChargeRequest
from config.problems import Problem
from services.balancer.book import Entry
from services.routing.node import STALE
from tests.services.balancer.cases.asking import bodies
from tests.services.balancer.cases.spoiling import (
    PassOn,
    Spoil,
    two_of_which_the_first_is_preferred,
)
from tests.services.balancer.promises import expect_kept, of_services
from tests.services.balancer.test_failures import reset
from tests.services.grid import a_grid, until


async def reset_after_admission(request: web.Request, pass_on: PassOn) -> web.StreamResponse:
    await pass_on()
    return await reset(request)


async def reset_mid_body(request: web.Request, pass_on: PassOn) -> web.StreamResponse:
    await pass_on()
    response = web.StreamResponse(status=202, headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b'{"response"')
    return await reset(request)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("spoil", [reset_after_admission, reset_mid_body])
async def test_the_reply_is_lost_after_admission(spoil: Spoil, times: int) -> None:
    """Reply lost after admission, connection reset mid-body: asked again it is the same session, else one elsewhere."""
    async with a_grid() as grid:
        stations = await two_of_which_the_first_is_preferred(grid, spoil, times)
        balancer = await grid.balancer("substation1", "substation2")
        answer = await grid.route("EV1", request_id="r1")
        where = "substation1" if times == 1 else "substation2"
        assert (answer.status, (await answer.json())["routed_to"]) == (202, where)
        await until(lambda: not len(balancer.placer.revocations))
        assert [station.admission.sessions for station in stations] == ([1, 11] if times == 1 else [0, 12])
        record = await grid.get(where, "/sessions/r1")
        assert (record["state"], record["attempt"]) == ("charging", times)
        assert (await (await grid.route("EV1", request_id="r1")).json())["routed_to"] == where
        expect_kept(of_services(*stations), ["r1"])


async def test_the_reply_is_lost_and_what_was_found_meanwhile_is_told_to_nobody() -> None:
    """Reply lost after admission: the attempt may be given up yet, so one who asks again hears from who places it."""
    gate = asyncio.Event()

    async def late(_: web.Request, pass_on: PassOn) -> web.StreamResponse:
        answer = await pass_on()
        await gate.wait()
        return answer

    async with a_grid() as grid:
        (station, _) = await two_of_which_the_first_is_preferred(grid, late, times=1)
        balancer = await grid.balancer("substation1", "substation2")
        first = asyncio.ensure_future(grid.route("EV1", request_id="r1"))
        await until(lambda: station.admission.sessions == 1)
        found = Entry("r1", "EV1", "substation1", 1, time.monotonic() + 300, None, sure=False)
        balancer.core.dispatch.collected("substation1", 1, [found])
        again = ChargeRequest(ev_id="EV1", request_id="r1")
        told = await balancer.core.dispatch.answer(again, time.monotonic() + 0.1)
        assert isinstance(told, Problem)
        gate.set()
        assert (await bodies([await first]))[0]["routed_to"] == "substation1"


@pytest.mark.parametrize(("timeout_s", "where"), [(10.0, "substation1"), (4.0, "substation2")])
async def test_a_substation_answers_in_two_seconds(timeout_s: float, where: str) -> None:
    """A substation that answers in 2 s is waited for where there is time, else left, and delays nobody else."""
    gate, loop = asyncio.Event(), asyncio.get_running_loop()

    async def late(_: web.Request, pass_on: PassOn) -> web.StreamResponse:
        await gate.wait()
        return await pass_on()

    async with a_grid() as grid:
        stations = await two_of_which_the_first_is_preferred(grid, late, times=2)
        balancer = await grid.balancer("substation1", "substation2", request_timeout_s=timeout_s)
        account = balancer.ledger.get("substation1")
        assert account is not None
        began_s = loop.time()
        waiting = asyncio.ensure_future(grid.route("EV1", request_id="r1"))
        await until(lambda: balancer.ledger.totals(loop.time()).sessions > 1 and account.node.rank == STALE)
        others = await asyncio.gather(*(grid.route(f"EV{number}", request_id=f"r{number}") for number in range(2, 7)))
        assert [body["routed_to"] for body in await bodies(others)] == ["substation2"] * 5
        await until(lambda: waiting.done() or (where == "substation1" and loop.time() - began_s >= 2.0))
        gate.set()
        answer = await waiting
        assert (answer.status, (await answer.json())["routed_to"]) == (202, where)
        await until(lambda: not len(balancer.placer.revocations))
        expect_kept(of_services(*stations), [f"r{number}" for number in range(1, 7)])
