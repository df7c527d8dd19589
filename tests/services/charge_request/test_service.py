"""The charge-request service before a real balancer."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from io import BytesIO
from typing import Any

import pytest
from aiohttp import web
from prometheus_client.openmetrics import parser

from config.names import is_name
from config.problems import Problem
from config.settings import ChargeRequestSettings
from services.charge_request.service import ChargeRequestService
from services.clock import SystemClock
from services.problem import problem_response
from tests.services.charge_request.fronts import NOWHERE, ingress, pretender, whole
from tests.services.grid import BUSY_S, a_grid


@pytest.mark.parametrize("path", ["/charge", "/request-charge"])
async def test_an_ev_charges(path: str) -> None:
    async with a_grid() as grid:
        await whole(grid)
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
        await whole(grid)
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
        await whole(grid)
        answer = await (await grid.post("charge-request", "/charge", {"ev_id": "EV1"})).json()
        assert (await grid.get("substation1", f"/sessions/{answer['request_id']}"))["ev_id"] == "EV1"


async def test_a_full_grid_says_when() -> None:
    async with a_grid() as grid:
        await whole(grid, max_sessions=1)
        await grid.post("charge-request", "/charge", {"ev_id": "EV1"})
        answer = await grid.post("charge-request", "/charge", {"ev_id": "EV2"})
        assert (answer.status, answer.content_type) == (503, "application/problem+json")
        problem = await answer.json()
        assert problem["reason"] == "grid-full"
        assert int(answer.headers["Retry-After"]) >= problem["retry_after_s"] > 25


async def test_who_is_refused_is_told_the_id_by_which_the_balancer_remembers_why() -> None:
    async with a_grid() as grid:
        await whole(grid, max_sessions=1)
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

        await ingress(grid, await pretender(grid, crowded))
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
        await whole(grid, max_sessions=2)
        requests: list[Any] = [{"ev_id": "EV1"}, {"evid": "EV2"}, 7, {"ev_id": "EV3"}, {"ev_id": "EV4"}]
        answer = await grid.post("charge-request", "/charge", requests)
        elements = await answer.json()
        assert [element["status_code"] for element in elements][1:3] == [422, 422]
        assert Counter(element["status_code"] for element in elements) == {202: 2, 422: 2, 503: 1}
        assert (await grid.get("charge-request", "/health"))["requests_total"] == {"202": 2, "422": 2, "503": 1}
        assert await (await grid.post("charge-request", "/charge", [])).json() == []


async def test_the_largest_array_goes_through() -> None:
    async with a_grid() as grid:
        await whole(grid, timeout_s=60.0, max_sessions=900)
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


async def test_a_request_is_followed_and_cancelled_through_it() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1", max_sessions=1)
        await grid.balancer("substation1", admission="queue")
        await ingress(grid, grid.urls["balancer"])
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
            await ingress(grid, balancer, timeout_s=0.4)
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
