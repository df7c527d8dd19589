"""Third parties: any `POST /charge` and a gauge, with no limit of their own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from services.balancer.service import BalancerService
from tests.services.grid import Grid, a_grid, until


class Stranger:
    """Takes every charge; its page is what `page` says of the sessions it took."""

    def __init__(self, page: Callable[[int], str] = "current_load {}".format) -> None:
        self.sessions = 0
        self.most = 0
        self.bodies: list[dict[str, object]] = []
        self.status = 200
        self._page = page

    async def charge(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        if self.status == 200:
            self.sessions += 1
            self.most = max(self.most, self.sessions)
        return web.Response(status=self.status, text="ok")

    async def metrics(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text=self._page(self.sessions))


async def _balancer(grid: Grid, stranger: Stranger, *others: str, **settings: Any) -> BalancerService:
    url = await grid.third_party("other", stranger.charge, stranger.metrics)
    return await grid.balancer(f"other={url}#current_load", *others, **settings)


async def test_it_is_balanced_together_with_two_of_ours() -> None:
    async with a_grid() as grid:
        for number in (1, 2):
            await grid.substation(f"substation{number}")
        stranger = Stranger()
        await _balancer(grid, stranger, "substation1", "substation2")
        answers = await asyncio.gather(*(grid.route(f"EV{number}") for number in range(40)))
        assert Counter(answer.status for answer in answers) == {202: 30, 503: 10}
        routed = Counter([(await answer.json())["routed_to"] for answer in answers if answer.status == 202])
        assert routed == {"other": 10, "substation1": 10, "substation2": 10}
        assert stranger.most == 10, "ten sessions are believed where none are declared"
        assert set(stranger.bodies[0]) == {"ev_id"}, "it is told what the client told us"


async def _polled(balancer: BalancerService) -> None:
    (account,) = balancer.ledger
    before_s = account.heard_at_s
    await until(lambda: account.heard_at_s != before_s)


async def test_polls_do_not_forget_what_was_sent() -> None:
    async with a_grid() as grid:
        stranger = Stranger()
        balancer = await _balancer(grid, stranger, poll_interval_s=0.02)
        for number in range(12):
            await grid.route(f"EV{number}")
            await _polled(balancer)
        assert stranger.most == 10
        stranger.sessions = 3  # others left: the gauge is believed
        await until(lambda: balancer.ledger.totals(0.0).sessions == 3)
        assert (await grid.route("EV20")).status == 202


@pytest.mark.parametrize("page", ["", "current_load NaN", "current_load -5", "current_load 1e308", "x" * 3_000_000])
async def test_a_gauge_that_lies_leaves_the_ledgers_own_count(page: str) -> None:
    async with a_grid() as grid:
        stranger = Stranger(lambda _: page)
        await _balancer(grid, stranger)
        answers = [await grid.route(f"EV{number}") for number in range(12)]
        assert Counter(answer.status for answer in answers) == {202: 10, 503: 2}
        refused = await answers[-1].json()
        assert refused["reason"] == "grid-full"
        assert 25 < refused["retry_after_s"] <= 30
        (row,) = (await grid.get("balancer", "/status"))["substations"]
        assert (row["state"], row["sessions"], row["external"]) == ("unheard", 10, True)


@pytest.mark.parametrize("status", [503, 429, 500, 404, 302])
async def test_whatever_it_refuses_by_goes_on_to_the_next(status: int) -> None:
    async with a_grid() as grid:
        stranger = Stranger()
        stranger.status = status
        await grid.substation("substation1")
        await grid.post("substation1", "/charge", {"ev_id": "before"})
        balancer = await _balancer(grid, stranger, "substation1")
        answer = await grid.route("EV1")
        assert (await answer.json())["routed_to"] == "substation1"
        other = balancer.ledger.get("other")
        assert other is not None
        assert other.node.sessions == 0


async def test_a_silent_one_is_not_asked_twice() -> None:
    async with a_grid() as grid:
        asked = []

        async def reset(request: web.Request) -> web.StreamResponse:
            asked.append(1)
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        await grid.substation("substation1")
        await grid.post("substation1", "/charge", {"ev_id": "before"})
        url = await grid.third_party("other", reset, Stranger().metrics)
        await grid.balancer(f"other={url}#current_load", "substation1")
        answer = await grid.route("EV1")
        assert (await answer.json())["routed_to"] == "substation1"
        assert asked == [1], "it may have taken the session: nothing there tells a repeated request from a second"
