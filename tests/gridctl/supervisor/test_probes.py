"""Probes against a server whose bytes the test chooses: whole, in pieces, odd, late, closed, and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from gridctl.supervisor.probes import MOST_BYTES, Probes
from services.question import Odd

FINE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Server:
    """Says the next of `says` to each question, piece by piece; none: it closes."""

    says: list[Sequence[bytes]] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)
    connections: int = 0
    url: str = ""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.says:
                self.asked.append(await reader.readuntil(b"\r\n\r\n"))
                for piece in self.says.pop(0):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)  # sleep: lets what was written go out
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def a_server(*says: Sequence[bytes]) -> AsyncIterator[tuple[Server, Probes]]:
    server, probes = Server(list(says)), Probes()
    listening = await asyncio.start_server(server.connected, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/health"
    try:
        yield server, probes
    finally:
        probes.close()
        listening.close()
        await listening.wait_closed()


async def test_a_connection_is_kept_and_an_answer_may_come_in_pieces() -> None:
    pieces = [FINE[:20], FINE[20:-1], FINE[-1:]]
    async with a_server([FINE], pieces, [FINE.replace(b"200 OK", b"503 No"), b""]) as (server, probes):
        assert await probes.get(server.url, 10) == (200, b"{}")
        assert await probes.get(server.url, 10) == (200, b"{}")
        assert await probes.get(server.url, 10) == (503, b"{}")
        assert server.connections == 1
        assert server.asked[0] == f"GET /health HTTP/1.1\r\nHost: {server.url[7:-7]}\r\n\r\n".encode()


@pytest.mark.parametrize(
    "said",
    [
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"],
        [b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"],
        [b"HTTP/1.1 abc\r\nContent-Length: 2\r\n\r\n{}"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n{}"],
        [FINE + FINE],
        [b"x" * (MOST_BYTES + 1)],
        [FINE[:-1]],
    ],
)
async def test_what_is_odd_is_said_to_be_and_its_connection_not_used_again(said: Sequence[bytes]) -> None:
    async with a_server(said) as (server, probes):
        with pytest.raises(Odd):
            await probes.get(server.url, 10)
        server.says = [[FINE]]
        assert await probes.get(server.url, 10) == (200, b"{}")
        assert server.connections == 2


async def test_who_says_that_it_closes_or_closed_meanwhile_is_connected_to_anew() -> None:
    closing = FINE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with a_server([closing], [FINE]) as (server, probes):
        assert await probes.get(server.url, 10) == (200, b"{}")
        assert await probes.get(server.url, 10) == (200, b"{}")  # the last: the server closes behind it
        async with asyncio.timeout(10):
            while not all(probe.closed for probe in probes._kept.values()):  # noqa: ASYNC110  a plain value
                await asyncio.sleep(0.01)
        server.says = [[FINE]]
        assert await probes.get(server.url, 10) == (200, b"{}")
        assert server.connections == 3


async def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one() -> None:
    async with a_server([], [FINE]) as (server, probes):
        with pytest.raises(TimeoutError):
            await probes.get(server.url, 0.05)
        assert await probes.get(server.url, 10) == (200, b"{}")
        assert server.connections == 2


async def test_who_is_asked_no_more_is_let_go() -> None:
    async with a_server([FINE], [FINE]) as (server, probes):
        await probes.get(server.url, 10)
        probes.forget(server.url)
        probes.forget(server.url)
        await probes.get(server.url, 10)
        assert server.connections == 2


async def test_nobody_there_and_no_plain_http_are_said() -> None:
    async with a_server() as (server, probes):
        url = server.url
    with pytest.raises(ConnectionRefusedError):
        await probes.get(url, 10)
    with pytest.raises(Odd):
        await Probes().get("https://127.0.0.1:1/health", 10)
