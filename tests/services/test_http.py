"""What all services share on their HTTP side, on a service that does nothing of its own."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from config.messages import MAX_BODY_BYTES
from services.http import application
from services.service import Health, Service
from services.traffic import Traffic
from tests.services.echo import Echo

Client = TestClient[Any, Any]
JSON = {"Content-Type": "application/json"}


@asynccontextmanager
async def _client(echo: Service | None = None, traffic: Traffic | None = None) -> AsyncIterator[Client]:
    async with TestClient(TestServer(application(echo or Echo(), traffic or Traffic()))) as client:
        yield client


async def _problem(client: Client, method: str, path: str, status: int, **request: Any) -> Any:
    async with client.request(method, path, **request) as answer:
        assert answer.status == status
        assert answer.content_type == "application/problem+json"
        assert answer.headers["X-Echo"] == "1"
        body = await answer.json()
        assert body["status"] == status
        return body


async def test_a_body_is_read() -> None:
    async with _client() as client:
        for content_type in ("application/json", "application/json; charset=utf-8", "application/vnd.x+json"):
            async with client.post("/echo", data=b'{"ev_id": "a"}', headers={"Content-Type": content_type}) as answer:
                assert await answer.json() == ["a"]


async def test_every_error_is_a_problem() -> None:
    async with _client() as client:
        assert (await _problem(client, "POST", "/echo", 400))["reason"] == "not-json"
        assert (await _problem(client, "POST", "/echo", 400, data=b"{", headers=JSON))["reason"] == "not-json"
        assert (await _problem(client, "POST", "/echo", 400, data=b" ", headers=JSON))["reason"] == "not-json"
        await _problem(client, "POST", "/echo", 415, data=b"{}", headers={"Content-Type": "text/plain"})
        await _problem(client, "POST", "/echo", 415, data=b"{}", skip_auto_headers=["Content-Type"])
        await _problem(client, "GET", "/nothing", 404)
        assert (await _problem(client, "GET", "/gone", 410))["reason"] == "revoked"
        too_many = json.dumps([{"ev_id": "a"}] * 10_000)
        await _problem(client, "POST", "/echo", 413, data=too_many, headers=JSON)


async def test_a_wrong_method_is_told_the_right_ones() -> None:
    async with _client() as client, client.put("/echo") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert (await answer.json())["detail"] == "PUT is not allowed here; allowed: POST"


async def test_ten_megabytes_are_too_many_also_without_a_length() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * MAX_BODY_BYTES

    async with _client() as client:
        await _problem(client, "POST", "/echo", 413, data=BytesIO(b"x" * 10 * MAX_BODY_BYTES), headers=JSON)
        await _problem(client, "POST", "/echo", 413, data=chunks(), headers=JSON)
        await _problem(client, "POST", "/echo", 400, data=b"x", headers={**JSON, "Content-Encoding": "gzip"})


async def test_a_bug_is_logged_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    async with _client() as client:
        body = await _problem(client, "GET", "/bug", 500)
    assert body["reason"] == "internal-error"
    assert "this is a bug" not in json.dumps(body)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "this is a bug" in (record.exc_text or "")


async def test_a_bug_in_a_request_that_was_read_names_it() -> None:
    async with _client() as client:
        assert (await _problem(client, "GET", "/bug/r1", 500))["request_id"] == "r1"
        assert "request_id" not in await _problem(client, "GET", "/bug", 500)


async def test_health_has_a_status_of_its_own() -> None:
    echo, traffic = Echo(), Traffic()
    async with _client(echo, traffic) as client:
        for told, code in (("ok", 200), ("draining", 200), ("starting", 503)):
            echo.told = Health(told, {"sessions": 3})  # type: ignore[arg-type]
            async with client.get("/health") as answer:
                body = await answer.json()
                assert (answer.status, body["status"], body["sessions"], body["name"]) == (code, told, 3, "echo1")
        traffic.stop()
        async with client.get("/health") as answer:
            assert (answer.status, (await answer.json())["status"]) == (503, "stopping")
            assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("path", ["/health?live", "/health?live=1"])
async def test_whoever_asks_only_for_life_is_told_of_it(path: str) -> None:
    echo, traffic = Echo(), Traffic()
    async with _client(echo, traffic) as client:
        for told in ("ok", "starting", "degraded"):
            echo.told = Health(told)
            async with client.get(path) as answer:
                assert (answer.status, (await answer.json())["status"]) == (200, told)
        traffic.stop()
        async with client.get(path) as answer:
            assert (answer.status, (await answer.json())["status"]) == (200, "stopping")


async def test_metrics_are_the_services_own() -> None:
    async with _client() as client:
        async with client.get("/metrics") as answer:
            assert answer.content_type == "text/plain"
            assert "echo_requests_total 1.0" in await answer.text()
        async with client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}) as answer:
            assert answer.content_type == "application/openmetrics-text"
            assert (await answer.text()).endswith("# EOF\n")
