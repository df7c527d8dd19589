"""One request against real servers of every kind."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import struct

import pytest
from aiohttp import web

from gridctl.loadtest.arrivals import Order
from gridctl.loadtest.client import Outcome, judge
from gridctl.loadtest.http import HttpClient
from tests.gridctl.loadtest.server import Handler, accept, serving

ORDER = Order(0, "lt-1-0", {"ev_id": "EV1", "power_kw": 7.4})


async def outcome_of(client: HttpClient, order: Order = ORDER) -> Outcome:
    told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    client.send(order, told.set_result)
    return await asyncio.wait_for(told, 10)


async def ask(handler: Handler, timeout_s: float = 5.0) -> Outcome:
    async with serving(handler) as url:
        return await sent(f"{url}/charge", timeout_s)


async def sent(url: str, timeout_s: float = 5.0) -> Outcome:
    with HttpClient(url, timeout_s) as client:
        return await outcome_of(client)


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

    async with serving(handler) as url:
        with HttpClient(f"{url}/charge", 5.0) as client:
            for order in (ORDER, ORDER._replace(traceparent=f"00-{7:032x}-{9:016x}-01")):
                await outcome_of(client, order)
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
    async with server:
        return await sent(f"http://127.0.0.1:{port}/charge")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "connection closed without an answer"),
        (b"what?\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{", "answer broken off"),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nhello", "202 without a JSON object"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "500"),
        (b"HTTP/1.1 500 Oops\r\n\r\nwhatever comes until the end", "500"),
        (b"HTTP/1.0 202 OK\r\n\r\n[", "202 without a JSON object"),
        (b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}", "answer broken off"),
        (b"HTTP/1.1 202 Acc", "connection closed without an answer"),
        (b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 409 No\r\nContent-Length: 2\r\n\r\n{}", "409"),
        (b"HTTP/1.1 409 No\r\nContent-Length: 0\r\n\r\n" * 2, "409"),
        (b"HTTP/1.1 409 No\r\nContent-Length: 0\r\n\r\nbehind", "409"),
    ],
)
async def test_what_a_broken_server_sends_is_named(answer: bytes, reason: str) -> None:
    outcome = await raw(answer)
    assert (outcome.kind, outcome.reason) == ("failed", reason)


class Counting:
    """A server that counts its connections, and answers each request after what a test lets it wait for."""

    def __init__(self, close: bool = False) -> None:
        self.connections = 0
        self.asked = 0
        self.close = close
        self.gate = asyncio.Event()
        self.gate.set()
        self.serving: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.serving.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"}"):
                self.asked += 1
                await self.gate.wait()
                connection = b"Connection: close\r\n" if self.close else b""
                writer.write(b"HTTP/1.1 202 OK\r\n" + connection + b"Content-Length: 2\r\n\r\n{}")
                if self.close:
                    break
        writer.close()

    async def outcomes(self, count: int, sockets: int, timeout_s: float = 5.0) -> tuple[list[Outcome], HttpClient]:
        """Of so many orders at once, and who sent them."""
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/charge"
        async with server:
            with HttpClient(url, timeout_s, sockets=sockets) as client:
                found = await asyncio.gather(*(outcome_of(client) for _ in range(count)))
                found += [await outcome_of(client) for _ in range(3)]
            self.gate.set()  # Python 3.13: a server waits for those it serves
        await self.end()
        return found, client

    async def end(self) -> None:
        """Until nobody is served any more."""
        self.gate.set()
        await asyncio.gather(*(task for task in self.serving if task is not None))


@pytest.mark.parametrize("close", [False, True])
async def test_connections_are_kept_and_no_more_than_allowed(close: bool) -> None:
    server = Counting(close)
    found, client = await server.outcomes(10, sockets=4)
    assert [outcome.kind for outcome in found] == ["accepted"] * 13
    assert server.connections == (13 if close else 4)
    assert client.waited == 6


async def test_who_waits_for_a_connection_is_given_up_like_who_waits_for_an_answer() -> None:
    server = Counting()
    server.gate.clear()
    found, _ = await server.outcomes(4, sockets=2, timeout_s=0.05)
    assert [outcome.timed_out for outcome in found] == [True] * 7


async def test_a_crowd_that_nobody_listens_to_is_told_so_beyond_the_last_socket() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with HttpClient(f"http://127.0.0.1:{held.getsockname()[1]}/charge", 5, sockets=2) as client:
            found = await asyncio.gather(*(outcome_of(client) for _ in range(9)))
    assert {outcome.reason for outcome in found} == {"connection refused"}


async def test_a_connection_that_was_idle_for_long_is_not_used_again() -> None:
    now, server = 0.0, Counting()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/charge"
    async with listening:
        with HttpClient(url, 5, clock=lambda: now) as client:
            for now in (0.0, 14.0, 30.0):  # noqa: B007 - the clock
                assert (await outcome_of(client)).kind == "accepted"
    await server.end()
    assert server.connections == 2


async def test_what_a_url_says_is_sent() -> None:
    seen: list[tuple[str, str, str | None]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.raw_path, request.headers["Host"], request.headers.get("Authorization")))
        return await accept(request)

    async with serving(handler) as url:
        host = url.removeprefix("http://")
        await sent(f"http://me:p%40ss@{host}/charge?a=b c&d=%20")
        with HttpClient(f"{url}/charge", 5, {"Authorization": "Bearer x"}) as client:
            await outcome_of(client)
    basic = "Basic " + base64.b64encode(b"me:p@ss").decode()
    assert seen == [("/charge?a=b%20c&d=%20", host, basic), ("/charge", host, "Bearer x")]


async def test_a_reset_is_named_like_a_close() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        outcome = await sent(f"http://127.0.0.1:{port}/charge")
    assert outcome.reason == "connection closed without an answer"


async def test_nobody_listens() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take the port
        outcome = await sent(f"http://127.0.0.1:{held.getsockname()[1]}/charge")
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


async def test_tls_where_nobody_speaks_it_is_no_connection() -> None:
    async with serving(accept) as url:
        outcome = await sent(url.replace("http", "https") + "/charge", timeout_s=5)
    assert outcome.kind == "failed"
    assert outcome.reason in ("cannot connect", "no answer within 5 s")
