"""Substations that hang, reset, lie, or are not there; and what becomes of the requests meanwhile."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

import pytest
from aiohttp import web

from config.report import HEADER, Report
from config.settings import BalancerSettings, SubstationSettings
from services.balancer.line import HttpLine, Page, Result, Silent
from services.balancer.service import BalancerService
from services.balancer.targets import Target
from services.clock import SystemClock
from services.stream.member import Member
from services.substation.service import SubstationService
from tests.services.grid import BUSY_S, Grid, Respond, a_grid, until

EMPTY = Report(epoch=7, seq=1, sessions=0, load_w=0, max_sessions=1000).encode()


class Liar:
    """A substation that reports to be empty, so that it is always asked first, and answers a charge by `charge`.

    `metrics`, where given, answers `GET /metrics`.
    """

    def __init__(self, charge: Respond, metrics: Respond | None = None) -> None:
        self.report = EMPTY
        self.asked: list[dict[str, Any]] = []
        self.revoked: list[tuple[str, str]] = []
        self._charge = charge
        self.app = web.Application()
        self.app.router.add_post("/charge", self._asked)
        self.app.router.add_get("/metrics", metrics or self._metrics)
        self.app.router.add_get("/sessions", self._sessions)
        self.app.router.add_delete("/sessions/{request_id}", self._revoke)

    async def _asked(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        return await self._charge(request)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text="", headers={HEADER: self.report})

    async def _sessions(self, _: web.Request) -> web.Response:
        return web.json_response({"epoch": Report.decode(self.report).epoch, "now_s": 0, "sessions": []})

    async def _revoke(self, request: web.Request) -> web.Response:
        self.revoked.append((request.match_info["request_id"], request.query["attempt"]))
        return web.json_response({})


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


async def reset(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def reset_mid_body(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=202, headers={"Content-Length": "100", HEADER: EMPTY})
    await response.prepare(request)
    await response.write(b'{"response"')
    return await reset(request)


async def breaks(_: web.Request) -> web.StreamResponse:
    return web.json_response({"reason": "internal-error"}, status=500, headers={HEADER: EMPTY})


async def full(_: web.Request) -> web.StreamResponse:
    return web.json_response({"reason": "substation-full", "retry_after_s": 5}, status=503, headers={HEADER: EMPTY})


async def nonsense(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503, text="<html>", headers={HEADER: "v=1;epoch=-5"})


async def _liar_and_substation(grid: Grid, liar: Liar, **settings: Any) -> SubstationService:
    await grid.serve_app("liar", liar.app)
    station = await grid.substation("substation2", max_sessions=5)
    await grid.post("substation2", "/charge", {"ev_id": "before"})  # so that the liar is preferred
    await grid.balancer("liar", "substation2", **settings)
    return station


@pytest.mark.parametrize("failure", [hang, reset, reset_mid_body, breaks])
async def test_a_silent_one_is_asked_twice_then_revoked_and_another_takes_it(failure: Any) -> None:
    async with a_grid() as grid:
        liar = Liar(failure)
        await _liar_and_substation(grid, liar, request_timeout_s=4.0)
        began_s = time.monotonic()
        answer = await grid.route("EV1", request_id="r1")
        assert time.monotonic() - began_s < 3.0 + BUSY_S
        assert (answer.status, (await answer.json())["routed_to"]) == (202, "substation2")
        assert [(asked["request_id"], asked["attempt"]) for asked in liar.asked] == [("r1", 1), ("r1", 1)]
        await until(lambda: liar.revoked == [("r1", "1")])
        record = await grid.get("substation2", "/sessions/r1")
        assert record["attempt"] == 2
        await grid.route("EV2")
        assert len(liar.asked) == 2, "it is suspected now, and asked last"


@pytest.mark.parametrize("failure", [full, nonsense])
async def test_a_useless_answer_goes_on_to_the_next_without_a_new_attempt(failure: Any) -> None:
    async with a_grid() as grid:
        liar = Liar(failure)
        await _liar_and_substation(grid, liar)
        answer = await grid.route("EV1", request_id="r1")
        assert (answer.status, len(liar.asked)) == (202, 1)
        assert (await grid.get("substation2", "/sessions/r1"))["attempt"] == 1
        assert liar.revoked == []
        await grid.route("EV2", power_kw=7.4)
        await grid.route("EV3", power_kw=7.4)
        assert len(liar.asked) <= 2, "who says both empty and full is not preferred for it"


async def test_a_refused_connection_goes_on_to_the_next() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1")
        await grid.balancer("gone=127.0.0.1:9", "substation1", request_timeout_s=2.0)
        answers = await asyncio.gather(*(grid.route(f"EV{number}") for number in range(5)))
        assert {answer.status for answer in answers} == {202}
        states = {row["name"]: row["state"] for row in (await grid.get("balancer", "/status"))["substations"]}
        assert states == {"gone": "unheard", "substation1": "fresh"}


class Slow(SubstationService):
    """Takes nothing up until it is told to hurry."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._held: list[Callable[[], None]] | None = []

    def take(self, members: Sequence[Member], headers: Mapping[str, str]) -> None:
        take = partial(super().take, members, headers)
        if self._held is None:
            take()
        else:
            self._held.append(take)

    def hurry(self) -> None:
        held, self._held = self._held or [], None
        for take in held:
            take()


async def test_an_answer_after_the_deadline_is_504_in_time_and_its_session_is_revoked() -> None:
    async with a_grid() as grid:
        station = Slow(SubstationSettings(name="substation1"), SystemClock(), Random())
        await grid.serve(station)
        balancer = await grid.balancer("substation1", request_timeout_s=0.6)
        began_s = time.monotonic()
        answer = await grid.route("EV1", request_id="r1")
        assert time.monotonic() - began_s < 0.6 + BUSY_S
        assert (answer.status, (await answer.json())["reason"]) in [(504, "timeout"), (503, "substations-unreachable")]
        station.hurry()
        await until(lambda: not len(balancer.placer.revocations))
        await until(lambda: station.admission.sessions == 0)
        again = await grid.route("EV1", request_id="r1")
        assert again.status == 202
        assert station.admission.sessions == 1


async def test_a_restart_without_its_sessions_makes_room_for_the_same_request() -> None:
    async def accept(_: web.Request) -> web.StreamResponse:
        return web.json_response({"ends_in_s": 30}, status=202, headers={HEADER: liar.report})

    liar = Liar(accept)
    async with a_grid() as grid:
        await grid.serve_app("liar", liar.app)
        balancer = await grid.balancer("liar", poll_interval_s=0.02)
        for _ in range(2):
            assert (await grid.route("EV1", request_id="r1")).status == 202
        assert len(liar.asked) == 1
        liar.report = Report(epoch=8, seq=1, sessions=0, load_w=0, max_sessions=1000).encode()
        book = balancer.placer.book
        await until(lambda: book.find("r1", 0.0) is None)
        assert (await grid.route("EV1", request_id="r1")).status == 202
        assert len(liar.asked) == 2


async def test_one_that_comes_back_is_waited_for(unused_tcp_port: int) -> None:
    async with a_grid() as grid:
        balancer = await grid.balancer(f"substation1=127.0.0.1:{unused_tcp_port}", request_timeout_s=4.0)
        waiting = asyncio.ensure_future(grid.route())
        await until(lambda: balancer.ledger.totals(0.0).sessions == 0 and not waiting.done())
        await grid.substation("substation1", port=unused_tcp_port)
        assert (await waiting).status == 202
        await until(
            lambda: [account.node.polled_sessions for account in balancer.ledger] == [1]
        )  # it is looked at anew


async def test_it_is_starting_until_each_was_heard_or_timed_out() -> None:
    async with a_grid() as grid:
        gate = asyncio.Event()

        async def silent(_: web.Request) -> web.StreamResponse:
            await gate.wait()
            return web.Response()

        url = await grid.third_party("silent", silent, silent)
        await grid.substation("substation1")
        await grid.balancer(f"silent={url}", "substation1", ready=False, request_timeout_s=4.0)
        health = await grid.client.get(grid.urls["balancer"] + "/health")
        assert (health.status, (await health.json())["status"]) == (503, "starting")
        hasty = await grid.post("balancer", "/route", {"ev_id": "EV0"}, headers={"Grid-Timeout-Ms": "200"})
        assert (hasty.status, (await hasty.json())["reason"]) == (503, "recovering")
        assert (await grid.route("EV1")).status == 202
        gate.set()


#: What a substation may say of a session, instead of the truth: not one of them is a record.
STRANGE: list[Any] = [{"state": []}, {"state": "gone"}, {"state": "ended", "reason": {}}, {"ends_s": 10**400}, {}]


async def test_a_substation_that_lists_nonsense_is_polled_on_and_nobody_is_answered_500() -> None:
    async with a_grid() as grid:

        async def takes(_: web.Request) -> web.Response:
            return web.json_response({"ends_in_s": 1e9}, status=202, headers={HEADER: EMPTY})

        polls = 0

        async def metrics(_: web.Request) -> web.Response:
            nonlocal polls
            polls += 1
            return web.Response(headers={HEADER: EMPTY})

        async def lists(_: web.Request) -> web.Response:
            whole = {"request_id": "r9", "ev_id": "EV9", "attempt": 1, "ends_s": math.nan}
            return web.json_response(
                {"epoch": 7, "now_s": 0, "sessions": [*({**whole, **each} for each in STRANGE), 7]}
            )

        async def tells(request: web.Request) -> web.Response:
            return web.json_response(STRANGE[int(request.match_info["request_id"][1:])])

        app = web.Application()
        app.router.add_post("/charge", takes)
        app.router.add_get("/metrics", metrics)
        app.router.add_get("/sessions", lists)
        app.router.add_get("/sessions/{request_id}", tells)
        app.router.add_delete("/sessions/{request_id}", tells)
        await grid.serve_app("liar", app)
        await grid.balancer("liar", poll_interval_s=0.05)
        await until(lambda: polls > 3)
        for number in range(len(STRANGE)):
            assert (await grid.route(f"EV{number}", request_id=f"r{number}")).status == 202
            again = await grid.route(f"EV{number}", request_id=f"again{number}")
            assert again.status in {202, 409}
        for number, said in enumerate(STRANGE):
            url = f"{grid.urls['balancer']}/requests/r{number}"
            async with grid.client.get(url) as answer:
                assert (answer.status, (await answer.json())["ev_id"]) == (200, f"EV{number}")
            async with grid.client.delete(url) as answer:
                ended = said.get("state") == "ended"
                assert (answer.status, "reason" in await answer.json()) == ((200, False) if ended else (503, True))


class Stumbles(HttpLine):
    """A line with a mistake in it: its first answer is nothing that anybody provided for."""

    def __init__(self) -> None:
        super().__init__()
        self.pages = 0

    async def page(self, target: Target, timeout_s: float) -> Page:
        self.pages += 1
        if self.pages == 1:
            raise RuntimeError("nobody thought of this")
        return await super().page(target, timeout_s)


async def test_a_mistake_costs_one_poll_and_not_the_substation(caplog: pytest.LogCaptureFixture) -> None:
    async with a_grid() as grid:
        await grid.substation("substation1")
        settings = BalancerSettings(
            seed=1, poll_interval_s=0.1, substations=(f"substation1={grid.urls['substation1']}",)
        )
        service = BalancerService(settings, SystemClock(), Random(1), line=Stumbles())
        await grid.serve(service)
        await until(lambda: service.health().status == "ok" and "fresh" in {each.state for each in service.ledger})
        assert "nobody thought of this" in caplog.text
        assert (await grid.route()).status == 202


@pytest.mark.parametrize("host", ["a" * 70, "a..b"])
async def test_what_cannot_be_the_name_of_a_host_is_not_heard_and_others_are_asked(host: str) -> None:
    async with a_grid() as grid:
        await grid.substation("substation1")
        await grid.balancer(f"odd={host}:80", "substation1")
        answers = [await grid.route(f"EV{number}") for number in range(3)]
        assert {answer.status for answer in answers} == {202}
        states = {row["name"]: row["state"] for row in (await grid.get("balancer", "/status"))["substations"]}
        assert states == {"odd": "unheard", "substation1": "fresh"}
    line = HttpLine()
    await line.start()
    try:
        odd = Target("odd", f"http://{host}:80")
        assert (await line.charge(odd, "r1", b"{}", 1.0)).result is Result.UNREACHABLE, "nothing was sent"
        with pytest.raises(Silent):
            await line.page(odd, 1.0)
    finally:
        await line.stop()


FOREIGN = [(401, ""), (403, ""), (302, ""), (404, "<h1>Not Found</h1>"), (429, "later"), (400, "{}")]


@pytest.mark.parametrize(("status", "text"), FOREIGN)
async def test_a_revocation_that_somebody_else_answers_is_told_again(status: int, text: str) -> None:
    async with a_grid() as grid:
        liar, told = Liar(reset), 0

        @web.middleware
        async def in_between(request: web.Request, handler: Any) -> web.StreamResponse:
            nonlocal told
            if request.method != "DELETE":
                return await handler(request)  # type: ignore[no-any-return]
            told += 1
            return web.Response(status=status, text=text) if told == 1 else await handler(request)

        liar.app.middlewares.append(in_between)
        await _liar_and_substation(grid, liar)
        assert (await grid.route("EV1", request_id="r1")).status == 202
        await until(lambda: liar.revoked == [("r1", "1")])
        assert told == 2


@pytest.mark.parametrize(("status", "text"), FOREIGN)
async def test_a_session_that_somebody_else_does_not_know_goes_on(status: int, text: str) -> None:
    async with a_grid() as grid:

        async def takes(_: web.Request) -> web.Response:
            return web.json_response({"ends_in_s": 1e9}, status=202, headers={HEADER: EMPTY})

        async def other(_: web.Request) -> web.Response:
            return web.Response(status=status, text=text)

        liar = Liar(takes)
        liar.app.router.add_get("/sessions/{request_id}", other)
        in_between = web.Application()
        in_between.router.add_delete("/sessions/{request_id}", other)
        for route in liar.app.router.routes():
            if route.method not in ("DELETE", "HEAD") and route.resource is not None:
                in_between.router.add_route(route.method, route.resource.canonical, route.handler)
        await grid.serve_app("liar", in_between)
        await grid.balancer("liar")
        assert (await grid.route("EV1", request_id="r1")).status == 202
        again = await grid.route("EV1", request_id="r2")
        assert (again.status, (await again.json())["reason"]) == (409, "ev-is-charging"), "no second session for it"
        url = f"{grid.urls['balancer']}/requests/r1"
        async with grid.client.delete(url) as answer:
            assert (answer.status, (await answer.json())["reason"]) == (503, "substation-silent")
        async with grid.client.get(url) as answer:
            assert (await answer.json())["state"] == "charging"
