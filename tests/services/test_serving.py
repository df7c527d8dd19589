"""A service's life on a real socket: nobody who asked before the end goes without an answer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from services.serving import serve
from tests.services.echo import Echo


@pytest.fixture
def held() -> Iterator[socket.socket]:
    """A listening socket as a launcher holds it; services get duplicates."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(128)
        yield sock


def _url(held: socket.socket, path: str) -> str:
    return f"http://127.0.0.1:{held.getsockname()[1]}{path}"


@asynccontextmanager
async def _served(echo: Echo, held: socket.socket) -> AsyncIterator[None]:
    serving = asyncio.ensure_future(serve(echo, held.dup()))
    try:
        yield
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
    finally:
        serving.cancel()
        await asyncio.wait({serving})


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  what is waited for is a plain value
            await asyncio.sleep(0.01)


async def test_a_life_from_start_to_stop(held: socket.socket) -> None:
    echo = Echo()
    serving = asyncio.ensure_future(serve(echo, held.dup()))
    async with aiohttp.ClientSession() as client:
        async with client.post(_url(held, "/echo"), json={"ev_id": "a"}) as answer:
            assert await answer.json() == ["a"]
        os.kill(os.getpid(), signal.SIGTERM)
        assert await serving is signal.SIGTERM
    assert echo.life == ["started", "stopped"]


async def test_faults_that_chaos_switches_on_are_seen(held: socket.socket) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        serving = asyncio.ensure_future(serve(Echo(), held.dup(), theirs))
        loop = asyncio.get_running_loop()
        async with aiohttp.ClientSession() as client:

            async def page() -> str:
                async with client.get(_url(held, "/metrics")) as answer:
                    return await answer.text()

            assert "chaos_reply_duplicate_ratio 0.0" in await page()
            await loop.sock_sendall(ours, b'{"do": "faults", "duplicate_pct": 50}\n')
            async with asyncio.timeout(10):
                while "chaos_reply_duplicate_ratio 0.5" not in await page():
                    pass
        os.kill(os.getpid(), signal.SIGTERM)
        await serving


async def test_what_is_in_flight_is_answered_with_connection_close(held: socket.socket) -> None:
    echo = Echo()
    serving = asyncio.ensure_future(serve(echo, held.dup()))
    async with aiohttp.ClientSession() as client:
        slow = asyncio.ensure_future(client.post(_url(held, "/slow")))
        await asyncio.wait_for(echo.asked.wait(), 10)
        os.kill(os.getpid(), signal.SIGINT)
        done, _ = await asyncio.wait({serving, slow}, timeout=0.5)
        assert not done
        echo.may_answer.set()
        async with await slow as answer:
            assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert await serving is signal.SIGINT


async def test_a_second_signal_ends_the_waiting(held: socket.socket) -> None:
    echo = Echo(stop_timeout_s=600)
    serving = asyncio.ensure_future(serve(echo, held.dup()))
    async with aiohttp.ClientSession() as client:
        slow = asyncio.ensure_future(client.post(_url(held, "/slow")))
        await asyncio.wait_for(echo.asked.wait(), 10)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(serving, 10) is signal.SIGTERM
        with pytest.raises(aiohttp.ClientError):
            await slow


async def test_a_restart_on_a_held_socket_costs_keep_alive_clients_nothing(held: socket.socket) -> None:
    answered, failed, over = 0, [], asyncio.Event()

    async def keep_asking(client: aiohttp.ClientSession) -> None:
        nonlocal answered
        while not over.is_set():
            try:
                async with client.post(_url(held, "/echo"), json={"ev_id": "a"}) as answer:
                    assert await answer.json() == ["a"]
                    answered += 1
            except aiohttp.ClientError as error:
                failed.append(error)
            await asyncio.sleep(0.002)

    serving = asyncio.ensure_future(serve(Echo(), held.dup()))
    async with aiohttp.ClientSession() as client:
        asking = [asyncio.ensure_future(keep_asking(client)) for _ in range(5)]
        for _ in range(3):
            seen = answered
            await _until(lambda seen=seen: answered > seen + 50)  # type: ignore[misc]
            os.kill(os.getpid(), signal.SIGTERM)
            await serving
            serving = asyncio.ensure_future(serve(Echo(), held.dup()))
        over.set()
        await asyncio.gather(*asking)
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
    assert not failed


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(1000)) + b"\r\n",
    ],
)
async def test_bytes_that_are_no_http_get_a_problem_and_the_service_goes_on(
    held: socket.socket, garbage: bytes
) -> None:
    async with _served(Echo(), held):
        reader, writer = await asyncio.open_connection(*held.getsockname())
        writer.write(garbage)
        head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
        writer.close()
        assert head.startswith(b"HTTP/1.")
        assert b" 400 Bad Request" in head
        assert b"application/problem+json" in head
        assert json.loads(body)["status"] == 400
        async with aiohttp.ClientSession() as client, client.get(_url(held, "/health")) as answer:
            assert answer.status == 200


async def test_a_client_that_breaks_off_is_nobodys_bug(held: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    async with _served(Echo(), held), aiohttp.ClientSession() as client:
        for sent in (head, head + b"{", head[:20]):
            _, writer = await asyncio.open_connection(*held.getsockname())
            writer.write(sent)
            await writer.drain()
            async with client.get(_url(held, "/health")) as answer:
                assert answer.status == 200
            writer.close()
            await writer.wait_closed()
        async with client.get(_url(held, "/health")) as answer:
            assert answer.status == 200
    assert [record.levelname for record in caplog.records if record.levelname == "ERROR"] == []


async def test_orders_reach_the_service_and_a_stop_is_not_the_launchers_end(held: socket.socket) -> None:
    ours, theirs = socket.socketpair()
    echo = Echo()
    serving = asyncio.ensure_future(serve(echo, held.dup(), theirs))
    ours.sendall(b'{"do": "drain"}\n')
    await _until(lambda: echo.orders)
    assert echo.orders == [{"do": "drain"}]
    os.kill(os.getpid(), signal.SIGTERM)
    assert await serving is signal.SIGTERM
    ours.close()
