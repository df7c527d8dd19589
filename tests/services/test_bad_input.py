"""Bad input of every kind, at the services that take charge requests: problem+json, and the service goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import pytest

from config.settings import ChargeRequestSettings
from services.charge_request.service import ChargeRequestService
from services.clock import SystemClock
from tests.services.grid import a_grid

DOORS = [("charge-request", "/charge"), ("charge-request", "/request-charge"), ("balancer", "/route")]
JSON = {"Content-Type": "application/json"}

#: What is sent: the body, its headers, and the status and the bad fields that it must be answered.
BAD: dict[str, tuple[bytes | None, Mapping[str, str], int, set[str]]] = {
    "no body": (None, JSON, 400, set()),
    "blank": (b"  \n", JSON, 400, set()),
    "broken JSON": (b'{"ev_id": "EV1"', JSON, 400, set()),
    "broken array": (b'[{"ev_id": "EV1"}', JSON, 400, set()),
    "not UTF-8": (b'{"ev_id": "\xff"}', JSON, 400, set()),
    "NaN": (b'{"ev_id": "EV1", "power_kw": NaN}', JSON, 422, {"power_kw"}),
    "Infinity": (b'{"ev_id": "EV1", "power_kw": Infinity}', JSON, 422, {"power_kw"}),
    "1e400": (b'{"ev_id": "EV1", "power_kw": 1e400}', JSON, 422, {"power_kw"}),
    "a string for a number": (b'{"ev_id": "EV1", "power_kw": "7.4"}', JSON, 422, {"power_kw"}),
    "a number for a string": (b'{"ev_id": 5}', JSON, 422, {"ev_id"}),
    "true for a number": (b'{"ev_id": "EV1", "duration_s": true}', JSON, 422, {"duration_s"}),
    "null": (b"null", JSON, 422, {""}),
    "negative energy": (b'{"ev_id": "EV1", "energy_kwh": -1}', JSON, 422, {"energy_kwh"}),
    "unknown field": (b'{"ev_id": "EV1", "ev_idd": 1}', JSON, 422, {"ev_idd"}),
    "attempt is ours": (b'{"ev_id": "EV1", "attempt": 2}', JSON, 422, {"attempt"}),
    "no ev_id": (b"{}", JSON, 422, {"ev_id"}),
    "empty ev_id": (b'{"ev_id": ""}', JSON, 422, {"ev_id"}),
    "long ev_id": (b'{"ev_id": "' + b"x" * 129 + b'"}', JSON, 422, {"ev_id"}),
    "a path for an id": (b'{"ev_id": "EV1", "request_id": "../x"}', JSON, 422, {"request_id"}),
    "several": (b'{"ev_id": 1, "power_kw": -1, "x": 1}', JSON, 422, {"ev_id", "power_kw", "x"}),
    "10 MB": (b'{"ev_id": "' + b"x" * 10_000_000 + b'"}', JSON, 413, set()),
    "an array of 10,000": (json.dumps([{"ev_id": "E"}] * 10_000).encode(), JSON, 413, set()),
    "deep": (b"[" * 100_000, JSON, 400, set()),
    "no content type": (b'{"ev_id": "EV1"}', {"Content-Type": ""}, 415, set()),
    "wrong content type": (b'{"ev_id": "EV1"}', {"Content-Type": "text/plain"}, 415, set()),
    "bad key": (b'{"ev_id": "EV1"}', {**JSON, "Idempotency-Key": "a b"}, 422, {"Idempotency-Key"}),
    "key and another id": (
        b'{"ev_id": "EV1", "request_id": "r1"}',
        {**JSON, "Idempotency-Key": "r2"},
        422,
        {"Idempotency-Key"},
    ),
    "key with an array": (b'[{"ev_id": "EV1"}]', {**JSON, "Idempotency-Key": "r1"}, 422, {"Idempotency-Key"}),
}


async def test_bad_input_is_named_and_the_services_go_on() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1")
        await grid.balancer("substation1")
        settings = ChargeRequestSettings(balancers=(grid.urls["balancer"],))
        await grid.serve(ChargeRequestService(settings, SystemClock()))
        for service, path in DOORS:
            for name, (body, headers, status, fields) in BAD.items():
                data = None if body is None else BytesIO(body)
                async with grid.client.post(grid.urls[service] + path, data=data, headers=headers) as answer:
                    said = await answer.json(content_type="application/problem+json")
                found = answer.status, {fault["field"] for fault in said.get("errors", ())}
                assert found == (status, fields), (service, path, name, said)
                assert said["status"] == status
        answer = await grid.post("charge-request", "/charge", {"ev_id": "EV1"})
        assert answer.status == 202
        assert (await grid.get("substation1", "/health"))["accepted_total"] == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_a_wrong_method_is_told_the_right_one(method: str) -> None:
    async with a_grid() as grid:
        await grid.balancer()
        async with grid.client.request(method, grid.urls["balancer"] + "/route") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
            assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("text", ["", "-5", "abc", "1.5", "٣", "9" * 30])
async def test_a_timeout_that_is_none_is_ignored(text: str) -> None:
    async with a_grid() as grid:
        await grid.substation("substation1")
        await grid.balancer("substation1")
        headers: Any = {"Grid-Timeout-Ms": text}
        answer = await grid.post("balancer", "/route", {"ev_id": "EV1"}, headers=headers)
        assert answer.status == 202


async def test_a_client_that_leaves_early_leaves_nothing_undone() -> None:
    async with a_grid() as grid:
        station = await grid.substation("substation1")
        await grid.balancer("substation1")
        host, port = grid.urls["balancer"].removeprefix("http://").split(":")
        body = b'{"ev_id": "EV1", "request_id": "r1"}'
        for _ in range(5):
            _, writer = await asyncio.open_connection(host, int(port))
            head = (
                f"POST /route HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            )
            writer.write(head.encode() + b"\r\n\r\n" + body)
            writer.close()
            await writer.wait_closed()
        assert (await grid.route("EV1", request_id="r1")).status == 202
        assert station.admission.sessions == 1
