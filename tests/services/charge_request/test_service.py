"""The charge-request service before a real balancer, a missing one, and ones that misbehave."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from random import Random
from typing import Any

import pytest
from aiohttp import web
from prometheus_client.openmetrics import parser

from config.names import is_name
from config.problems import Problem
from config.settings import BalancerSettings, ChargeRequestSettings, SubstationSettings
from services.balancer.service import BalancerService
from services.charge_request.forward import MOST_ANSWER_BYTES
from services.charge_request.service import CROWD, ChargeRequestService
from services.clock import FakeClock, SystemClock
from services.http import application
from services.logs import JsonLines
from services.problem import problem_response
from services.stream.answering import Member
from services.stream.wire import PATH
from services.substation.service import SubstationService
from services.traffic import Traffic
from tests.services.grid import BUSY_S, Grid, Respond, a_grid, until

NOWHERE = "http://127.0.0.1:9"


async def _ingress(grid: Grid, *balancers: str, timeout_s: float = 10.0) -> None:
    settings = ChargeRequestSettings(balancers=balancers, request_timeout_s=timeout_s)
    await grid.serve(ChargeRequestService(settings, SystemClock()))


async def _whole(grid: Grid, timeout_s: float = 10.0, **limits: Any) -> None:
    await grid.substation("substation1", **limits)
    await grid.balancer("substation1", request_timeout_s=timeout_s)
    await _ingress(grid, grid.urls["balancer"], timeout_s=timeout_s)


async def _fake(grid: Grid, route: Respond) -> str:
    app = web.Application()
    app.router.add_post("/route", route)
    return await grid.serve_app("fake", app)


@pytest.mark.parametrize("path", ["/charge", "/request-charge"])
async def test_an_ev_charges(path: str) -> None:
    async with a_grid() as grid:
        await _whole(grid)
        answer = await grid.post("charge-request", path, {"ev_id": "EV1234"}, headers={"Idempotency-Key": "r1"})
        assert answer.status == 202
        body = await answer.json()
        assert body["response"] == {"status": "charging started", "vehicle_id": "EV1234"}
        assert (body["routed_to"], body["request_id"]) == ("substation1", "r1")
        health = await grid.get("charge-request", "/health")
        assert health["requests_total"] == {"202": 1}
        page = await grid.get("charge-request", "/metrics")
        assert 'charge_requests_total{status="202"} 1.0' in page
        assert "charge_request_duration_seconds_count 1.0" in page


async def test_a_time_that_was_measured_leads_to_a_request_where_the_format_allows() -> None:
    async with a_grid() as grid:
        await _whole(grid)
        await grid.post("charge-request", "/charge", [{"ev_id": "EV2"}, {"ev_id": "EV3"}])
        await grid.post("charge-request", "/charge", {"ev_id": "EV1"}, headers={"Idempotency-Key": "r" * 64})
        asked = {"Accept": "application/openmetrics-text;version=1.0.0"}
        async with grid.client.get(grid.urls["charge-request"] + "/metrics", headers=asked) as answer:
            found = parser.text_string_to_metric_families(await answer.text())  # type: ignore[no-untyped-call]
            families = {family.name: family for family in found}
        samples = families["charge_request_duration_seconds"].samples
        examples = [sample.exemplar.labels for sample in samples if sample.exemplar is not None]
        assert "r" * 64 in {example.get("request_id") for example in examples}
        assert all(len(example["trace_id"]) == 32 for example in examples)
        assert "request_id" not in await grid.get("charge-request", "/metrics"), "the plain format has no room for it"


async def test_a_request_without_id_gets_one() -> None:
    async with a_grid() as grid:
        await _whole(grid)
        answer = await (await grid.post("charge-request", "/charge", {"ev_id": "EV1"})).json()
        assert (await grid.get("substation1", f"/sessions/{answer['request_id']}"))["ev_id"] == "EV1"


async def test_a_full_grid_says_when() -> None:
    async with a_grid() as grid:
        await _whole(grid, max_sessions=1)
        await grid.post("charge-request", "/charge", {"ev_id": "EV1"})
        answer = await grid.post("charge-request", "/charge", {"ev_id": "EV2"})
        assert (answer.status, answer.content_type) == (503, "application/problem+json")
        problem = await answer.json()
        assert problem["reason"] == "grid-full"
        assert int(answer.headers["Retry-After"]) >= problem["retry_after_s"] > 25


async def test_who_is_refused_is_told_the_id_by_which_the_balancer_remembers_why() -> None:
    async with a_grid() as grid:
        await _whole(grid, max_sessions=1)
        await grid.post("charge-request", "/charge", {"ev_id": "EV1"})
        refused = [await (await grid.post("charge-request", "/charge", {"ev_id": ev})).json() for ev in ("EV2", "EV1")]
        requests = [{"ev_id": "EV3"}, {"ev": 4}, {"ev_id": "EV1"}, {"ev_id": "EV5", "request_id": "r5"}]
        elements = await (await grid.post("charge-request", "/charge", requests)).json()
        assert [told["status"] for told in (*refused, *elements)] == [503, 409, 503, 422, 409, 503]
        assert "request_id" not in elements.pop(1), "what could not be read has no id"
        ids = [told["request_id"] for told in (*refused, *elements)]
        assert (len(set(ids)), ids[-1]) == (5, "r5")
        for told in (refused[0], elements[0], elements[-1]):
            found = await grid.get("balancer", f"/decisions?request_id={told['request_id']}")
            assert [each["outcome"]["reason"] for each in found["decisions"]] == ["grid-full"]


async def test_a_balancer_that_refuses_what_it_did_not_read_knows_no_id_and_the_client_is_told_it() -> None:
    async with a_grid() as grid:

        async def crowded(_: web.Request) -> web.StreamResponse:
            return problem_response(Problem(503, "no place", "too-many-connections", retry_after_s=1.0))

        await _ingress(grid, await _fake(grid, crowded))
        one = await grid.post("charge-request", "/charge", {"ev_id": "EV1", "request_id": "r1"})
        assert (one.headers["Retry-After"], (await one.json())["request_id"]) == ("1", "r1")
        requests = [{"ev_id": "EV1", "request_id": "r1"}, {"ev_id": "EV2", "request_id": "r2"}]
        several = await (await grid.post("charge-request", "/charge", requests)).json()
        assert [(each["reason"], each["request_id"]) for each in several] == [
            ("too-many-connections", "r1"),
            ("too-many-connections", "r2"),
        ]


async def test_an_array_keeps_its_order_and_its_bad_elements_to_itself() -> None:
    async with a_grid() as grid:
        await _whole(grid, max_sessions=2)
        requests: list[Any] = [{"ev_id": "EV1"}, {"evid": "EV2"}, 7, {"ev_id": "EV3"}, {"ev_id": "EV4"}]
        answer = await grid.post("charge-request", "/charge", requests)
        elements = await answer.json()
        assert [element["status_code"] for element in elements][1:3] == [422, 422]
        assert Counter(element["status_code"] for element in elements) == {202: 2, 422: 2, 503: 1}
        assert (await grid.get("charge-request", "/health"))["requests_total"] == {"202": 2, "422": 2, "503": 1}
        assert await (await grid.post("charge-request", "/charge", [])).json() == []


async def test_the_largest_array_goes_through() -> None:
    async with a_grid() as grid:
        await _whole(grid, timeout_s=60.0, max_sessions=900)
        pad = "\N{ELECTRIC PLUG}" * 124
        body = json.dumps([{"ev_id": f"{number:03}{pad}"} for number in range(1_000)], ensure_ascii=False)
        data = BytesIO(body.encode())
        headers = {"Content-Type": "application/json"}
        async with grid.client.post(grid.urls["charge-request"] + "/charge", data=data, headers=headers) as answer:
            elements = await answer.json()
        assert Counter(element["status_code"] for element in elements) == {202: 900, 503: 100}
        # which parts come first at the balancer is not said; each answer belongs to its element
        named = {number: element["response"] for number, element in enumerate(elements) if "response" in element}
        assert [each["vehicle_id"][:3] for each in named.values()] == [f"{number:03}" for number in named]


async def test_no_balancer_is_503_in_time() -> None:
    async with a_grid() as grid:
        await _ingress(grid, NOWHERE, timeout_s=0.5)
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

        await _ingress(grid, await _fake(grid, hang), timeout_s=0.5)
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
        settings = ChargeRequestSettings(balancers=(await _fake(grid, holds),), request_timeout_s=60.0)
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
        await _ingress(grid, f"http://127.0.0.1:{unused_tcp_port}", timeout_s=5.0)
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

        await _ingress(grid, await _fake(grid, breaks_twice))
        answer = await grid.post("charge-request", "/charge", {"ev_id": "EV1"})
        assert answer.status == 202
        assert len(seen) == 3
        assert len(set(seen)) == 1


async def test_the_other_balancer_is_asked() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1")
        await grid.balancer("substation1")
        await _ingress(grid, NOWHERE, grid.urls["balancer"])
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
        await _ingress(grid, await _fake(grid, hangs), grid.urls["balancer"], timeout_s=3.0)
        answers = [await grid.post("charge-request", "/charge", {"ev_id": f"EV{number}"}) for number in range(5)]
        assert {answer.status for answer in answers} == {202}
        assert len(asked) == 1


async def test_one_that_is_still_recovering_is_not_the_last_word_where_there_is_another() -> None:
    async with a_grid() as grid:

        async def recovering(_: web.Request) -> web.StreamResponse:
            return problem_response(Problem(503, "not yet", "recovering", retry_after_s=1.0))

        fake = await _fake(grid, recovering)
        await grid.substation("substation1")
        await grid.balancer("substation1")
        await _ingress(grid, fake, grid.urls["balancer"])
        answers = [await grid.post("charge-request", "/charge", {"ev_id": f"EV{number}"}) for number in range(4)]
        assert {answer.status for answer in answers} == {202}


async def test_where_all_are_recovering_the_client_is_told_so_in_time() -> None:
    async with a_grid() as grid:

        async def recovering(_: web.Request) -> web.StreamResponse:
            return problem_response(Problem(503, "not yet", "recovering", retry_after_s=1.0))

        fake = await _fake(grid, recovering)
        await _ingress(grid, fake, fake + "/", timeout_s=0.5)
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
        fakes = [await _fake(grid, _saying(status, content_type, text, asked)) for _ in range(2)]
        await _ingress(grid, *fakes)
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
        fake = await _fake(grid, _saying(status, content_type, text, asked))
        await grid.substation("substation1")
        await grid.balancer("substation1")
        await _ingress(grid, fake, grid.urls["balancer"])
        answers = [await grid.post("charge-request", "/charge", {"ev_id": f"EV{number}"}) for number in range(4)]
        assert {answer.status for answer in answers} == {202}
        assert len(asked) <= 2, "it is asked after the others for a moment"


@pytest.mark.parametrize("host", ["a" * 70, "a..b"])
async def test_what_cannot_be_the_name_of_a_host_is_a_balancer_that_is_not_there(host: str) -> None:
    async with a_grid() as grid:
        await _ingress(grid, f"http://{host}:80", timeout_s=0.3)
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

        await _ingress(grid, await _fake(grid, route))
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

        await _ingress(grid, await _fake(grid, fails))
        answer = await grid.post("charge-request", "/charge", [{"ev_id": "EV1"}])
        assert [element["reason"] for element in await answer.json()] == ["balancer-failed"]


async def test_a_request_is_followed_and_cancelled_through_it() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1", max_sessions=1)
        await grid.balancer("substation1", admission="queue")
        await _ingress(grid, grid.urls["balancer"])
        for number in (1, 2):
            queued = await grid.post("charge-request", "/charge", {"ev_id": f"EV{number}", "request_id": f"r{number}"})
            assert queued.status == 202
        assert (await queued.json())["response"] == {"status": "queued", "vehicle_id": "EV2"}
        url = grid.urls["charge-request"]
        assert (await grid.get("charge-request", "/requests/r1"))["state"] == "charging"
        assert (await grid.get("charge-request", "/requests/r2"))["position"] == 1
        async with grid.client.delete(f"{url}/requests/r2") as answer:
            assert (answer.status, (await answer.json())["state"]) == (200, "cancelled")
        for path, status in (("r9", 404), (".r", 422)):
            async with grid.client.get(f"{url}/requests/{path}") as answer:
                assert (answer.status, answer.content_type) == (status, "application/problem+json")


async def test_following_ends_in_time_too() -> None:
    async with a_grid() as grid:

        async def hang(_: web.Request) -> web.StreamResponse:
            await asyncio.Event().wait()
            return web.Response()

        app = web.Application()
        app.router.add_route("*", "/requests/{request_id}", hang)
        for balancer, status in ((await grid.serve_app("fake", app), 504), (NOWHERE, 503)):
            await _ingress(grid, balancer, timeout_s=0.4)
            began_s = time.monotonic()
            async with grid.client.get(grid.urls["charge-request"] + "/requests/r1") as answer:
                assert answer.status == status
            async with grid.client.delete(grid.urls["charge-request"] + "/requests/r1") as answer:
                assert answer.status == status
            assert time.monotonic() - began_s < 0.9 + BUSY_S


async def test_what_is_sent_on_is_all_that_was_asked_with_an_id() -> None:
    heard: list[dict[str, Any]] = []

    async def keep(request: web.Request) -> web.StreamResponse:
        heard.append(await request.json())
        return web.json_response({"response": {"status": "charging started"}}, status=202)

    async with a_grid() as grid:
        app = web.Application()
        app.router.add_post("/route", keep)
        settings = ChargeRequestSettings(balancers=(await grid.serve_app("fake", app),))
        await grid.serve(ChargeRequestService(settings, SystemClock()))
        asked = {"ev_id": 'E"\\ \u00e9\U0001f50c', "power_kw": 7.4, "energy_kwh": 1e9, "duration_s": 0.1}
        for body in ({**asked, "request_id": "r1"}, {**asked, "departure_in_s": None}):
            assert (await grid.post("charge-request", "/charge", body)).status == 202
        assert heard[0] == {**asked, "request_id": "r1"}
        assert heard[1] == {**asked, "request_id": heard[1]["request_id"]}
        assert is_name(heard[1]["request_id"])


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
        await _ingress(grid, grid.urls["balancer"])
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
        await _ingress(grid, grid.urls["balancer"])
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
        await _ingress(grid, grid.urls["balancer"])
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
