"""Connections of one socket that several workers share: each has about as many, and nobody is waited for in vain."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from services.turns import STEP_S, STEPS, Turns

#: Longer than anybody should wait for a connection, on a busy machine (wall seconds).
MOST_S = 10.0


@pytest.fixture
def held() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(512)
        yield sock


class Taker:
    """One worker, in this process; it says its name to each that it takes."""

    def __init__(self, name: str, held: socket.socket, spare: Callable[[int], int] | None = None) -> None:
        self.name, self.others, self.count, self.has_left = name, list[Taker](), 0, False
        self.turns = Turns(held.dup(), self.connection, spare or self.spare, self.leave)

    def spare(self, making: int) -> int:
        own = self.count + making
        return min((other.count for other in self.others if not other.has_left), default=own) - own

    def leave(self) -> None:
        self.has_left = True

    def connection(self) -> asyncio.Protocol:
        taker = self

        class Greeting(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                taker.count += 1
                assert isinstance(transport, asyncio.WriteTransport)
                transport.write(taker.name.encode())

            def connection_lost(self, exc: Exception | None) -> None:
                taker.count -= 1

        return Greeting()


async def greeted(held: socket.socket, stack: ExitStack) -> str:
    """By whom a new connection is taken."""
    loop = asyncio.get_running_loop()
    client = stack.enter_context(socket.socket())
    client.setblocking(False)
    async with asyncio.timeout(MOST_S):
        await loop.sock_connect(client, held.getsockname())
        return (await loop.sock_recv(client, 10)).decode()


async def test_two_workers_share_a_burst_and_what_comes_one_by_one(held: socket.socket) -> None:
    one, other = Taker("a", held), Taker("b", held)
    one.others, other.others = [other], [one]
    with ExitStack() as stack:
        burst = await asyncio.gather(*(greeted(held, stack) for _ in range(60)))
        singles = [await greeted(held, stack) for _ in range(20)]
        assert (len(burst), len(singles)) == (60, 20)
        assert abs(one.count - other.count) <= 2
        one.turns.close()
        other.turns.close()


async def test_nobody_waits_for_one_that_takes_none_and_the_next_wait_even_less(held: socket.socket) -> None:
    looks = 0

    def spare(_: int) -> int:
        nonlocal looks
        looks += 1
        return -1

    busy = Taker("a", held, spare)
    with ExitStack() as stack:
        assert await greeted(held, stack) == "a"
        assert STEPS <= looks <= STEPS + 2
        names = await asyncio.gather(*(greeted(held, stack) for _ in range(50)))
        assert (set(names), busy.count) == ({"a"}, 51)
        assert looks < 50 * STEPS / 2, "they must not wait as long as the first, each of them"
        busy.turns.close()


@pytest.mark.parametrize("waiting", [False, True])
async def test_one_that_leaves_lets_the_socket_go_on(held: socket.socket, waiting: bool) -> None:
    leaving = Taker("a", held, (lambda _: -1) if waiting else None)
    with ExitStack() as stack:
        if waiting:
            first = asyncio.ensure_future(greeted(held, stack))
            await asyncio.sleep(STEP_S * 3)  # sleep: so long it has waited for the other
        leaving.turns.close()
        leaving.turns.close()
        assert leaving.has_left
        staying = Taker("b", held)
        assert await greeted(held, stack) == "b"
        if waiting:
            assert await first in ("a", "b")
        staying.turns.close()
