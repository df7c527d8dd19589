"""Who gets in, at real services on real sockets; and what those learn who do not."""

from __future__ import annotations

import asyncio
import json
import logging
from random import Random
from typing import Any

import aiohttp
import pytest

from config.access import LOCAL, Access, Token
from config.settings import SubstationSettings
from services.clock import SystemClock
from services.gate import LOGGED_EVERY_S
from services.http import application
from services.substation.service import SubstationService
from services.traffic import Traffic
from tests.services.grid import Grid, a_grid, until
from tests.services.substation.test_pushes import Balancer

TOKEN = Token("t0ken-t0ken-t0ken-t0ken")
OPEN = frozenset({"/health", "/metrics"})


async def _substation(grid: Grid, access: Access) -> tuple[SubstationService, str]:
    service = SubstationService(SubstationSettings(), SystemClock(1.0), Random(1), token=access.token)
    await service.start()
    url = await grid.serve_app("substation1", application(service, Traffic(), access))
    grid._stack.push_async_callback(service.stop)
    return service, url


async def _raw(url: str, head: str, body: str = "") -> tuple[int, dict[str, Any]]:
    """The status and the JSON of the answer to what is sent literally."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body.encode())
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        length = next(
            int(line[15:]) for line in answer.decode().splitlines() if line.lower().startswith("content-length:")
        )
        content = await asyncio.wait_for(reader.readexactly(length), 10)
        return int(answer.split()[1]), json.loads(content) if content.startswith(b"{") else {}
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health"),
        ("GET", "/metrics"),
        ("GET", "/sessions"),
        ("POST", "/charge"),
        ("GET", "/nothing"),
        ("PUT", "/charge"),
        ("DELETE", "/sessions/r1"),
        ("POST", "/fences"),
        ("OPTIONS", "/charge"),
        ("POST", "/health"),
    ],
)
@pytest.mark.parametrize("header", [None, "Bearer wrong-wrong-wrong-wrong", "Basic dTpw", "t0ken-t0ken-t0ken-t0ken"])
async def test_without_the_token_all_is_401_and_nothing_is_told(method: str, path: str, header: str | None) -> None:
    async with a_grid() as grid:
        service, url = await _substation(grid, Access(TOKEN))
        headers = {} if header is None else {"Authorization": header}
        data = {"ev_id": "EV1"} if method == "POST" else None
        async with grid.client.request(method, url + path, headers=headers, json=data) as answer:
            said = await answer.json(content_type="application/problem+json")
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="gridctl"')
            assert answer.headers["Connection"] == "close"
            assert not {"Grid-Report", "Server"} & answer.headers.keys()
            assert said["reason"] == "unauthorized"
        assert service.admission.sessions == 0


async def test_with_it_all_is_as_without_a_gate_and_any_host_will_do() -> None:
    async with a_grid() as grid:
        service, url = await _substation(grid, Access(TOKEN))
        headers = {**TOKEN.header(), "Host": "10.1.2.3:9001", "Origin": "https://somewhere.example"}
        async with grid.client.post(url + "/charge", json={"ev_id": "EV1"}, headers=headers) as answer:
            assert (answer.status, "Grid-Report" in answer.headers) == (202, True)
        async with grid.client.get(url + "/nothing", headers=headers) as answer:
            assert answer.status == 404
        assert service.admission.sessions == 1


async def test_what_is_open_is_open_to_reading_only_and_to_nothing_near() -> None:
    async with a_grid() as grid:
        _, url = await _substation(grid, Access(TOKEN, OPEN))
        expected = {
            "/health": 200,
            "/metrics": 200,
            "/metrics?x=1": 200,
            "//metrics": 401,
            "/metrics/": 401,
            "/sessions": 401,
        }
        for path, status in expected.items():
            assert (await _raw(url, f"GET {path} HTTP/1.1\nHost: pod"))[0] == status, path
        for target in (
            "/health/../sessions",
            "/metrics%2f..%2fsessions",
            "/%6detrics",
            "http://x/sessions",
            "/health;/sessions",
        ):
            assert (await _raw(url, f"GET {target} HTTP/1.1\nHost: pod"))[0] == 401, target
        for method in ("POST", "DELETE", "OPTIONS", "PUT"):
            assert (await _raw(url, f"{method} /health HTTP/1.1\nHost: pod"))[0] == 401, method


async def test_a_stranger_at_an_open_path_is_no_balancer_and_is_not_brought_the_token() -> None:
    async with a_grid() as grid:
        service, url = await _substation(grid, Access(TOKEN, OPEN))
        stranger, balancer = Balancer(), Balancer()
        names = {"Grid-Balancer": await stranger.start(grid, "stranger"), "Grid-Incarnation": "99"}
        async with grid.client.get(url + "/metrics", headers=names) as answer:
            assert answer.status == 200
        known = {**TOKEN.header(), "Grid-Balancer": await balancer.start(grid, "balancer")}
        async with grid.client.get(url + "/metrics", headers=known) as answer:
            assert answer.status == 200
        service.command({"do": "drain"})
        await until(lambda: len(balancer.told) == 1)
        assert stranger.told == []
        assert balancer.headers[0]["Authorization"] == TOKEN.header()["Authorization"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "0.0.0.0:1", "localhost,evil", "", "a b"]
)
async def test_without_a_token_another_name_is_refused(host: str) -> None:
    async with a_grid() as grid:
        service, url = await _substation(grid, LOCAL)
        for path in ("/health", "/sessions", "/nothing"):
            status, said = await _raw(url, f"GET {path} HTTP/1.1\nHost: {host}")
            assert (status, said["reason"]) == (403, "unknown-host")
        body = '{"ev_id":"EV1"}'
        head = f"POST /charge HTTP/1.1\nHost: {host}\nContent-Type: application/json\nContent-Length: {len(body)}"
        assert (await _raw(url, head, body))[0] == 403
        assert service.admission.sessions == 0


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:1", "[::1]:9001", "a.localhost", "LOCALHOST:80", "grid.example:8443"]
)
async def test_loopback_and_allowed_names_are_answered(host: str) -> None:
    async with a_grid() as grid:
        _, url = await _substation(grid, Access(hosts=frozenset({"grid.example"})))
        for _ in range(2):
            assert (await _raw(url, f"GET /health HTTP/1.1\nHost: {host}"))[0] == 200


async def test_host_is_demanded_once_by_http_11_and_a_target_that_names_one_counts() -> None:
    async with a_grid() as grid:
        _, url = await _substation(grid, LOCAL)
        expected = {
            "GET /health HTTP/1.1\nHost: localhost\nHost: evil.example": 400,
            "GET /health HTTP/1.1\nHost: evil.example\nHost: localhost": 400,
            "GET /health HTTP/1.1\nX-Host: localhost": 400,
            # a program of 1996: no browser, so nobody can have led it here
            "GET /health HTTP/1.0\nAccept: */*": 200,
            "GET /health HTTP/1.0\nHost: evil.example": 403,
            "GET http://evil.example/health HTTP/1.1\nHost: localhost": 403,
            "GET http://localhost@evil.example/health HTTP/1.1\nHost: localhost": 403,
            "GET http://localhost:80/health HTTP/1.1\nHost: localhost": 200,
        }
        for head, status in expected.items():
            assert (await _raw(url, head))[0] == status, head


async def test_a_page_of_another_site_cannot_ask_even_by_our_own_name() -> None:
    async with a_grid() as grid:
        service, url = await _substation(grid, Access(hosts=frozenset({"grid.example"})))
        body = '{"ev_id":"EV1"}'
        for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
            head = f"POST /charge HTTP/1.1\nHost: localhost\nOrigin: {origin}\nContent-Type: application/json"
            status, said = await _raw(url, f"{head}\nContent-Length: {len(body)}", body)
            assert (status, said["reason"]) == (403, "foreign-origin")
        # what a form or a script may send without asking first is no JSON
        for kind in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=application/json",
        ):
            head = f"POST /charge HTTP/1.1\nHost: localhost\nContent-Type: {kind}\nContent-Length: {len(body)}"
            assert (await _raw(url, head, body))[0] == 415
        assert service.admission.sessions == 0
        for origin in ("http://localhost:3000", "https://grid.example"):
            assert (await _raw(url, f"GET /health HTTP/1.1\nHost: localhost\nOrigin: {origin}"))[0] == 200


async def test_refusals_are_logged_seldom_and_without_what_was_brought(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with a_grid() as grid:
        _, url = await _substation(grid, Access(TOKEN))
        async with aiohttp.ClientSession(headers={"Authorization": "Bearer almost-the-token"}) as client:
            for _ in range(20):
                async with client.get(url + "/sessions") as answer:
                    assert answer.status == 401
    lines = [record for record in caplog.records if record.message == "refused"]
    assert len(lines) == 1, f"one line in {LOGGED_EVERY_S} s"
    assert "almost-the-token" not in str([record.__dict__ for record in caplog.records])
