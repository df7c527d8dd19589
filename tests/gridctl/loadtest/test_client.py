"""One request against real servers of every kind."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web

from gridctl.loadtest.arrivals import Order
from gridctl.loadtest.client import HttpClient, Outcome, judge
from tests.gridctl.loadtest.server import Handler, accept, serving

ORDER = Order(0, "lt-1-0", {"ev_id": "EV1", "power_kw": 7.4})


async def ask(handler: Handler, timeout_s: float = 5.0) -> Outcome:
    async with serving(handler) as url, aiohttp.ClientSession() as http:
        return await HttpClient(http, f"{url}/charge", timeout_s).send(ORDER)


async def test_an_ev_is_sent_with_its_id_as_key() -> None:
    seen: list[tuple[str | None, object]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.headers.get("Idempotency-Key"), await request.json()))
        return await accept(request)

    outcome = await ask(handler)
    assert seen == [("lt-1-0", {"ev_id": "EV1", "power_kw": 7.4})]
    assert (outcome.kind, outcome.substation, outcome.status) == ("accepted", "substation1", 202)


async def test_the_trace_of_an_order_goes_with_it() -> None:
    seen: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("traceparent"))
        return await accept(request)

    async with serving(handler) as url, aiohttp.ClientSession() as http:
        client = HttpClient(http, f"{url}/charge", 5.0)
        for order in (ORDER, replace(ORDER, traceparent=f"00-{7:032x}-{9:016x}-01")):
            await client.send(order)
    assert seen == [None, f"00-{7:032x}-{9:016x}-01"]


async def test_a_refusal_has_its_reason() -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.json_response({"reason": "grid-full"}, status=503, headers={"Retry-After": "3"})

    outcome = await ask(handler)
    assert (outcome.kind, outcome.reason) == ("refused", "grid-full")


async def test_a_redirect_is_not_followed() -> None:
    async def handler(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/charge")

    outcome = await ask(handler)
    assert (outcome.kind, outcome.reason) == ("failed", "redirected (302)")


async def test_no_answer_in_time() -> None:
    async def handler(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    outcome = await ask(handler, timeout_s=0.05)
    assert (outcome.kind, outcome.reason, outcome.timed_out) == ("failed", "no answer within 0.05 s", True)


async def test_a_body_without_end_is_given_up() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(40):
            await response.write(b"x" * 65536)
        return response

    assert (await ask(handler)).reason == "an answer above 1 MiB"


async def raw(answer: bytes) -> Outcome:
    """The outcome where a server sends these bytes and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, aiohttp.ClientSession() as http:
        return await HttpClient(http, f"http://127.0.0.1:{port}/charge", 5).send(ORDER)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "connection closed without an answer"),
        (b"what?\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{", "answer broken off"),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nhello", "202 without a JSON object"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "500"),
    ],
)
async def test_what_a_broken_server_sends_is_named(answer: bytes, reason: str) -> None:
    outcome = await raw(answer)
    assert (outcome.kind, outcome.reason) == ("failed", reason)


async def test_a_reset_is_named_like_a_close() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, aiohttp.ClientSession() as http:
        outcome = await HttpClient(http, f"http://127.0.0.1:{port}/charge", 5).send(ORDER)
    assert outcome.reason == "connection closed without an answer"


async def test_nobody_listens() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take the port
        async with aiohttp.ClientSession() as http:
            outcome = await HttpClient(http, f"http://127.0.0.1:{held.getsockname()[1]}/charge", 5).send(ORDER)
    assert (outcome.kind, outcome.reason, outcome.status) == ("failed", "connection refused", None)


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (200, {}, "accepted", ""),
        (202, {"routed_to": 5}, "accepted", ""),
        (202, [], "failed", "202 without a JSON object"),
        (503, {"reason": "substation-full"}, "refused", "substation-full"),
        (503, {"reason": "draining"}, "refused", "draining"),
        (503, {"reason": "balancer-unreachable"}, "failed", "503 balancer-unreachable"),
        (503, "full", "refused", "503"),
        (429, None, "refused", "429"),
        (409, {"reason": "already-charging"}, "failed", "409 already-charging"),
        (422, {"reason": ["odd"]}, "failed", "422"),
    ],
)
def test_statuses_are_judged(status: int, body: object, kind: str, reason: str) -> None:
    outcome = judge(status, json.dumps(body).encode())
    assert (outcome.kind, outcome.reason) == (kind, reason)


def test_json_too_deep_is_text() -> None:
    assert judge(202, b"[" * 100_000).kind == "failed"
