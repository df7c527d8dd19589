"""The charge-request service before balancers that are missing, silent, recovering or misbehave."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from aiohttp import web

from config.problems import Problem
from config.settings import ChargeRequestSettings
from services.charge_request.desk import CROWD
from services.charge_request.exchange import MOST_ANSWER_BYTES
from services.charge_request.service import ChargeRequestService
from services.clock import FakeClock
from services.logs import JsonLines
from services.problem import problem_response
from tests.services.charge_request.fronts import NOWHERE, ingress, pretender
from tests.services.grid import BUSY_S, Respond, a_grid, until


async def test_no_balancer_is_503_in_time() -> None:
    async with a_grid() as grid:
        await ingress(grid, NOWHERE, timeout_s=0.5)
        began_s = time.monotonic()
        answers = await asyncio.gather(
            grid.post("charge-request", "/charge", {"ev_id": "EV1", "request_id": "r1"}),
            grid.post("charge-request", "/charge", [{"ev_id": "EV2", "request_id": "r2"}, {"ev_id": "EV3"}]),
        )
        assert time.monotonic() - began_s < 0.5 + BUSY_S
        assert (answers[0].status, (await answers[0].json())["reason"]) == (503, "balancer-unreachable")
        elements = await answers[1].json()
        assert [element["status_code"] for element in elements] == [503, 503]
        ids = [told["request_id"] for told in (await answers[0].json(), *elements)]
        assert (ids[:2], len(set(ids))) == (["r1", "r2"], 3)


async def test_a_silent_balancer_is_504_in_time() -> None:
    async with a_grid() as grid:
        granted = []

        async def hang(request: web.Request) -> web.StreamResponse:
            granted.append(int(request.headers["Grid-Timeout-Ms"]))
            await asyncio.Event().wait()
            return web.Response()

        await ingress(grid, await pretender(grid, hang), timeout_s=0.5)
        began_s = time.monotonic()
        answer = await grid.post("charge-request", "/charge", {"ev_id": "EV1"})
        assert time.monotonic() - began_s < 0.5 + BUSY_S
        problem = await answer.json()
        assert (answer.status, problem["reason"], len(problem["request_id"])) == (504, "balancer-silent", 32)
        assert 300 < granted[0] < 500, "it is told what time remains"


async def test_a_crowd_that_waits_too_long_keeps_nobody_else_waiting(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    caplog.handler.setFormatter(JsonLines("charge-request", "charge-request"))
    async with a_grid() as grid:
        held, end = 0, asyncio.Event()

        async def holds(_: web.Request) -> web.StreamResponse:
            nonlocal held
            held += 1
            await end.wait()
            return web.json_response({}, status=202)

        clock = FakeClock()
        settings = ChargeRequestSettings(balancers=(await pretender(grid, holds),), request_timeout_s=60.0)
        await grid.serve(ChargeRequestService(settings, clock))

        async def ask(**headers: str) -> dict[str, Any]:
            answer = await grid.post("charge-request", "/charge", {"ev_id": "EV"}, headers=headers)
            return {"status": answer.status, **(await answer.json())}

        crowd = [asyncio.ensure_future(ask()) for _ in range(CROWD)]
        await until(lambda: held == CROWD)
        clock.jump(29)
        crowd.append(asyncio.ensure_future(ask()))
        await until(lambda: held == CROWD + 1)  # who comes soon waits like the others
        clock.jump(2)  # once the first has waited long, nobody does
        named = await ask(**{"Idempotency-Key": "r1"})
        assert (named["reason"], named["request_id"]) == ("busy", "r1"), "its body is not read, its header is"
        for headers in ({}, {"Idempotency-Key": "no name"}):
            caplog.clear()
            unnamed = await ask(**headers)
            assert (unnamed["reason"], len(unnamed["request_id"])) == ("busy", 32)
            lines = [json.loads(line) for line in caplog.text.splitlines() if "busy" in line]
            assert [line["request_id"] for line in lines] == [unnamed["request_id"]]
        assert not any(one.done() for one in crowd)
        end.set()
        assert {answer["status"] for answer in await asyncio.gather(*crowd)} == {202}


async def test_a_balancer_that_comes_back_in_time_gets_the_same_request_again(unused_tcp_port: int) -> None:
    async with a_grid() as grid:
        await grid.substation("substation1")
        await ingress(grid, f"http://127.0.0.1:{unused_tcp_port}", timeout_s=5.0)
        waiting = asyncio.ensure_future(grid.post("charge-request", "/charge", {"ev_id": "EV1"}))
        done, _ = await asyncio.wait({waiting}, timeout=0.05)
        assert not done
        await grid.balancer("substation1", port=unused_tcp_port)
        assert (await waiting).status == 202


async def test_a_broken_connection_is_repeated_with_the_same_id() -> None:
    async with a_grid() as grid:
        seen = []

        async def breaks_twice(request: web.Request) -> web.StreamResponse:
            seen.append((await request.json())["request_id"])
            if len(seen) <= 2:
                assert request.transport is not None
                request.transport.abort()
            return web.json_response({"routed_to": "substation1"}, status=202)

        await ingress(grid, await pretender(grid, breaks_twice))
        answer = await grid.post("charge-request", "/charge", {"ev_id": "EV1"})
        assert answer.status == 202
        assert len(seen) == 3
        assert len(set(seen)) == 1


async def test_the_other_balancer_is_asked() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1")
        await grid.balancer("substation1")
        await ingress(grid, NOWHERE, grid.urls["balancer"])
        answers = [await grid.post("charge-request", "/charge", {"ev_id": f"EV{number}"}) for number in range(3)]
        assert {answer.status for answer in answers} == {202}


async def test_a_silent_balancer_among_two_costs_no_answer_and_is_not_asked_first_again() -> None:
    async with a_grid() as grid:
        asked: list[str] = []

        async def hangs(request: web.Request) -> web.StreamResponse:
            asked.append(request.path)
            await asyncio.sleep(30)  # sleep: it never answers
            return web.Response()

        await grid.substation("substation1")
        await grid.balancer("substation1")
        await ingress(grid, await pretender(grid, hangs), grid.urls["balancer"], timeout_s=3.0)
        answers = [await grid.post("charge-request", "/charge", {"ev_id": f"EV{number}"}) for number in range(5)]
        assert {answer.status for answer in answers} == {202}
        assert len(asked) == 1


async def test_one_that_is_still_recovering_is_not_the_last_word_where_there_is_another() -> None:
    async with a_grid() as grid:

        async def recovering(_: web.Request) -> web.StreamResponse:
            return problem_response(Problem(503, "not yet", "recovering", retry_after_s=1.0))

        fake = await pretender(grid, recovering)
        await grid.substation("substation1")
        await grid.balancer("substation1")
        await ingress(grid, fake, grid.urls["balancer"])
        answers = [await grid.post("charge-request", "/charge", {"ev_id": f"EV{number}"}) for number in range(4)]
        assert {answer.status for answer in answers} == {202}


async def test_where_all_are_recovering_the_client_is_told_so_in_time() -> None:
    async with a_grid() as grid:

        async def recovering(_: web.Request) -> web.StreamResponse:
            return problem_response(Problem(503, "not yet", "recovering", retry_after_s=1.0))

        fake = await pretender(grid, recovering)
        await ingress(grid, fake, fake + "/", timeout_s=0.5)
        answer = await grid.post("charge-request", "/charge", {"ev_id": "EV1"})
        assert (answer.status, (await answer.json())["reason"]) == (503, "recovering")


BAD = [
    (503, "text/html", "<h1>no upstream</h1>"),
    (504, "application/problem+json", ""),
    (503, "application/problem+json", '["grid-full"]'),
    (503, "application/problem+json", '"grid-full"'),
    (503, "application/problem+json", '{"reason": "grid-full", "retry_after_s": NaN}'),
    (503, "application/problem+json", '{"reason": "grid-full", "retry_after_s": 1e999}'),
    (503, "application/problem+json", "[" * 100_000),
    (503, "application/json", '{"error": "none of ours"}'),
    (422, "application/problem+json", "\N{LATIN SMALL LETTER E WITH ACUTE}"),
    (202, "text/html", "charging"),
    (202, "application/json", "[]"),
    (200, "application/json", " " * (MOST_ANSWER_BYTES + 1) + "{}"),
    (204, "application/json", ""),
    (302, "text/html", "elsewhere"),
    (500, "text/plain", "500 Internal Server Error"),
]


def _saying(status: int, content_type: str, text: str, asked: list[str]) -> Respond:
    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        body = text.encode("latin-1")
        return web.Response(status=status, body=body, headers={"Content-Type": content_type, "Retry-After": "soon"})

    return answer


@pytest.mark.parametrize(("status", "content_type", "text"), BAD)
async def test_what_no_balancer_answers_is_a_problem_that_names_the_request(
    status: int, content_type: str, text: str
) -> None:
    async with a_grid() as grid:
        asked: list[str] = []
        fakes = [await pretender(grid, _saying(status, content_type, text, asked)) for _ in range(2)]
        await ingress(grid, *fakes)
        one = await grid.post("charge-request", "/charge", {"ev_id": "EV1", "request_id": "r1"})
        assert (one.status, one.content_type, one.headers["Retry-After"]) == (503, "application/problem+json", "1")
        assert {"balancer-failed", "r1"} <= {each for each in (await one.json()).values() if isinstance(each, str)}
        assert len(asked) == 2, "each of the two is asked once: they would only say it again"
        several = await (await grid.post("charge-request", "/charge", [{"ev_id": "EV2"}, {"ev_id": "EV3"}])).json()
        assert [each["reason"] for each in several] == ["balancer-failed"] * 2
        assert (await grid.get("charge-request", "/health"))["requests_total"] == {"503": 3}


@pytest.mark.parametrize(("status", "content_type", "text"), BAD)
async def test_who_answers_nonsense_is_not_the_last_word_where_there_is_another(
    status: int, content_type: str, text: str
) -> None:
    async with a_grid() as grid:
        asked: list[str] = []
        fake = await pretender(grid, _saying(status, content_type, text, asked))
        await grid.substation("substation1")
        await grid.balancer("substation1")
        await ingress(grid, fake, grid.urls["balancer"])
        answers = [await grid.post("charge-request", "/charge", {"ev_id": f"EV{number}"}) for number in range(4)]
        assert {answer.status for answer in answers} == {202}
        assert len(asked) <= 2, "it is asked after the others for a moment"


@pytest.mark.parametrize("host", ["a" * 70, "a..b"])
async def test_what_cannot_be_the_name_of_a_host_is_a_balancer_that_is_not_there(host: str) -> None:
    async with a_grid() as grid:
        await ingress(grid, f"http://{host}:80", timeout_s=0.3)
        answer = await grid.post("charge-request", "/charge", {"ev_id": "EV1"})
        assert (answer.status, (await answer.json())["reason"]) == (503, "balancer-unreachable")


async def test_elements_of_an_array_that_say_nothing_fail_alone() -> None:
    async with a_grid() as grid:
        bad = [(202, "7"), (202, "[]"), (202, "<html>"), (503, "[1]"), (503, '{"reason": {}}'), (500, "{}")]

        async def route(request: web.Request) -> web.StreamResponse:
            number = int((await request.json())["request_id"][1:])
            if number == 0:
                return web.json_response({"routed_to": "substation1", "request_id": "r0"}, status=202)
            status, text = bad[number - 1]
            return web.Response(status=status, text=text, content_type="application/json")

        await ingress(grid, await pretender(grid, route))
        requests = [{"ev_id": f"EV{number}", "request_id": f"r{number}"} for number in range(1 + len(bad))]
        elements = await (await grid.post("charge-request", "/charge", requests)).json()
        assert [each.get("reason") for each in elements] == [None] + ["balancer-failed"] * len(bad)
        assert [each["request_id"] for each in elements] == [each["request_id"] for each in requests]
        assert (await grid.get("charge-request", "/health"))["requests_total"] == {"202": 1, "503": len(bad)}


@pytest.mark.parametrize("status", [200, 404, 500])
async def test_a_balancer_that_fails_is_503_with_a_reason(status: int) -> None:
    async with a_grid() as grid:

        async def fails(_: web.Request) -> web.StreamResponse:
            return web.Response(status=status, text="[1, 2, 3]", content_type="application/json")

        await ingress(grid, await pretender(grid, fails))
        answer = await grid.post("charge-request", "/charge", [{"ev_id": "EV1"}])
        assert [element["reason"] for element in await answer.json()] == ["balancer-failed"]
