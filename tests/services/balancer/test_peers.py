"""What one balancer makes of another one's answers, however bad they are."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from services.balancer.connections import Silent
from services.balancer.peers import HttpPeerLine
from tests.services.grid import Grid, a_grid, until

BAD = [
    (503, b"<h1>no upstream</h1>"),
    (503, b'["grid-full"]'),
    (503, b'{"retry_after_s": NaN}'),
    (202, b'{"ends_in_s": 1e999}'),
    (200, b"[" * 100_000),
    (200, b"\xff"),
    (200, b"{}" + b" " * 2**20),
    (204, b""),
    (302, b"{}"),
    (401, b'{"reason": "unauthorized"}'),
    (500, b'{"reason": "internal-error"}'),
]


async def _other(grid: Grid, status: int, body: bytes) -> str:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, content_type="application/json")

    app = web.Application()
    app.router.add_post("/route", answer)
    app.router.add_post("/peers", answer)
    return await grid.serve_app("other", app)


@pytest.mark.parametrize(("status", "body"), BAD)
async def test_nonsense_counts_as_silence(status: int, body: bytes) -> None:
    async with a_grid() as grid:
        url = await _other(grid, status, body)
        line = HttpPeerLine("http://127.0.0.1:1")
        await line.start()
        try:
            with pytest.raises(Silent):
                await line.forward(url, "POST", "/route", {"ev_id": "EV1"}, {}, 5.0)
            with pytest.raises(Silent):
                await line.tell(url, {}, 5.0)
        finally:
            await line.stop()


@pytest.mark.parametrize("host", ["a" * 70, "a..b"])
async def test_what_cannot_be_a_host_is_silent_too(host: str) -> None:
    line = HttpPeerLine("http://127.0.0.1:1")
    await line.start()
    try:
        with pytest.raises(Silent):
            await line.tell(f"http://{host}:80", {}, 5.0)
    finally:
        await line.stop()


async def test_what_an_owner_says_beside_the_point_is_passed_on_without_harm() -> None:
    async with a_grid() as grid:
        waits: list[Any] = ["soon", [1], None, -7, 10**400]
        told = 0

        async def met(_: web.Request) -> web.Response:
            return web.json_response({"incarnation": 2**50, "state": "ready", "number": 2**50})

        async def route(_: web.Request) -> web.Response:
            nonlocal told
            told += 1
            body = {"reason": "grid-full", "retry_after_s": waits[told % len(waits)]}
            return web.json_response(body, status=503)

        app = web.Application()
        app.router.add_post("/peers", met)
        app.router.add_post("/route", route)
        other = await grid.serve_app("other", app)
        await grid.substation("substation1", max_sessions=100)
        own = "http://127.0.0.1:1"  # nobody calls back
        await grid.balancer("substation1", url=own, peers=(own, other))
        answers = [await grid.route(f"EV{number}") for number in range(40)]
        assert {answer.status for answer in answers} == {202, 503}
        assert {answer.headers.get("Retry-After") for answer in answers} == {None, "1", str(10**400)}


LAST = 2**62 - 1
NOTES: list[dict[str, Any]] = [
    {"fenced": LAST},
    {"term": 2**62, "state": "leaving"},
    {"incarnation": LAST, "number": 2**62, "state": "leaving"},
    {"term": 2**62, "fenced": LAST, "holds": 2**62},
    {"placed": [{"request_id": "r9", "ev_id": "EV9", "substation": "none", "attempt": 10**9, "ends_in_s": 1e17}]},
    {"reports": [["substation1", "v=1"], ["substation1"], []]},
]


@pytest.mark.parametrize("note", NOTES)
async def test_no_note_lets_a_balancer_go_where_nobody_follows(note: dict[str, Any]) -> None:
    async with a_grid() as grid:
        await grid.substation("substation1", max_sessions=100)
        own, other = "http://127.0.0.1:1", "http://127.0.0.1:2"  # nobody calls back
        balancer = await grid.balancer("substation1", url=own, peers=(own, other))
        whole = {"sender": other, "number": 1, "incarnation": 1, "state": "ready", **note}
        for number in range(3):
            answer = await grid.post("balancer", "/peers", {**whole, "number": max(number, whole["number"])})
            assert answer.status == 200, await answer.text()
        await until(lambda: balancer.core.members.ready and not balancer.core.members.up)
        answers = [await grid.route(f"EV{number}") for number in range(5)]
        assert [answer.status for answer in answers] == [202] * 5


async def test_who_calls_his_attempt_the_last_one_that_there_is_stops_no_balancer() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1")
        last = {"ev_id": "EV1", "request_id": "r1", "attempt": 10**9, "duration_s": 1e6}
        assert (await grid.post("substation1", "/charge", last)).status == 202
        await grid.balancer("substation1")
        assert (await grid.route("EV1", request_id="r2")).status == 409, "its session is known"
        assert (await grid.route("EV2")).status == 202
