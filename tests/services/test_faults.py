"""Faults of replies: on real servers, over a real lifeline, gone by themselves, and nowhere while they are off."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from config.errors import Invalid
from services.connection import Connection
from services.faults import LONGEST_S, MOST, Faults, Switch, checked
from services.http import application
from services.serving import serve
from services.traffic import Traffic
from tests.services.echo import Echo
from tests.services.grid import until

ORDERS = st.fixed_dictionaries(
    {"drop_pct": st.floats(0, 100)},
    optional={"delay_s": st.floats(0, 60), "duplicate_pct": st.floats(0, 100), "for_s": st.floats(0, 10)},
)


@given(order=ORDERS, after_s=st.floats(0, 30))
def test_a_fault_is_on_until_its_time_is_over_and_not_longer(order: dict[str, float], after_s: float) -> None:
    faults = Faults()
    faults.renew(checked(order), 100.0)
    lasting_s = order.get("for_s", LONGEST_S)
    for kind in MOST:
        expected = order.get(kind, 0.0) if 100.0 + after_s < 100.0 + lasting_s else 0.0
        assert faults.value(kind, 100.0 + after_s) == expected


def test_a_renewal_counts_from_when_it_came_and_for_its_own_fault_only() -> None:
    faults = Faults()
    faults.renew({"drop_pct": 2.0, "delay_s": 2.0}, 0.0)
    faults.renew({"drop_pct": 3.0}, 8.0)
    assert (faults.value("drop_pct", 17.9), faults.value("delay_s", 9.9)) == (3.0, 2.0)
    assert (faults.value("drop_pct", 18.0), faults.value("delay_s", 10.0)) == (0.0, 0.0)
    assert faults.next_end_s() == 10.0
    faults.renew({"delay_s": 0.0}, 9.0)
    assert faults.next_end_s() == 18.0
    faults.expire(18.0)
    assert faults.next_end_s() is None


@pytest.mark.parametrize(
    ("order", "keys"),
    [
        ({}, {"(order)"}),
        ({"for_s": 5}, {"(order)"}),
        ({"drop_pct": 101, "delay_s": -1, "duplicate_pct": "2"}, {"drop_pct", "delay_s", "duplicate_pct"}),
        ({"drop_pct": float("nan")}, {"drop_pct"}),
        ({"drop_pct": True}, {"drop_pct"}),
        ({"drop_pct": 2, "for_s": 10.5}, {"for_s"}),
    ],
)
def test_what_cannot_be_is_refused_with_every_fault(order: dict[str, Any], keys: set[str]) -> None:
    with pytest.raises(Invalid) as refused:
        checked(order)
    assert {fault.key for fault in refused.value.faults} == keys


class Counting(Echo):
    """Counts how often it really worked."""

    def __init__(self) -> None:
        super().__init__()
        self.worked = 0

    def routes(self) -> list[web.RouteDef]:
        return [*super().routes(), web.post("/work", self._work)]

    async def _work(self, request: web.Request) -> web.Response:
        self.worked += 1
        return web.json_response({"body": (await request.read()).decode(), "time": self.worked})


class World:
    """A service behind a real server, with a switch."""

    def __init__(self, service: Counting, server: web.Server, switch: Switch, url: str) -> None:
        self.service, self.server, self.switch, self.url = service, server, switch, url
        self.client = aiohttp.ClientSession()
        self.plain = server.request_handler

    async def work(self) -> Any:
        async with self.client.post(f"{self.url}/work", data=b"x") as answer:
            return await answer.json()

    def is_plain(self) -> bool:
        """Whether requests meet the server's own handler and nothing else, on every connection."""
        own = {connection._request_handler for connection in self.server.connections}
        return self.server.request_handler == self.plain and own <= {self.plain}


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    service, traffic, switch = Counting(), Traffic(), Switch(Random(1))
    runner = web.AppRunner(application(service, traffic), access_log=None)
    await runner.setup()
    server = runner.server
    assert server is not None
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Connection(server, loop=loop), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    with switch.before(server, traffic):
        world = World(service, server, switch, url)
        async with world.client:
            yield world
    listener.close()
    await runner.cleanup()


async def test_while_all_is_off_nothing_of_it_is_in_the_way() -> None:
    async with a_world() as world:
        await world.work()
        assert world.is_plain()
        world.switch.renew({"drop_pct": 1.0})
        assert not world.is_plain()
        world.switch.renew({"drop_pct": 0.0})
        assert world.is_plain()


async def test_a_dropped_reply_is_a_reset_after_the_work_was_done_also_on_an_open_connection() -> None:
    async with a_world() as world:
        await world.work()
        world.switch.renew({"drop_pct": 100.0})
        for times in (2, 3):
            with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
                await world.client.post(f"{world.url}/work", data=b"x")
            assert world.service.worked == times
        world.switch.renew({"drop_pct": 0.0})
        assert (await world.work())["time"] == 4


async def test_a_duplicated_request_is_handled_twice_with_the_same_body() -> None:
    async with a_world() as world:
        world.switch.renew({"duplicate_pct": 100.0})
        assert await world.work() == {"body": "x", "time": 2}
        assert (await world.client.get(f"{world.url}/nothing")).status == 404


async def test_a_delayed_reply_comes_late_and_counts_as_in_flight() -> None:
    async with a_world() as world:
        world.switch.renew({"delay_s": 0.3})
        began_s = asyncio.get_running_loop().time()
        assert (await world.work())["time"] == 1
        assert asyncio.get_running_loop().time() - began_s >= 0.29


async def test_health_is_spared() -> None:
    async with a_world() as world:
        world.switch.renew({"drop_pct": 100.0, "delay_s": 60.0})
        async with world.client.get(f"{world.url}/health") as answer:
            assert answer.status == 200


async def test_about_the_asked_share_is_dropped() -> None:
    async with a_world() as world:
        world.switch.renew({"drop_pct": 20.0})
        lost = 0
        for _ in range(200):
            try:
                await world.client.post(f"{world.url}/work", data=b"x")
            except aiohttp.ClientError:
                lost += 1
        assert 15 <= lost <= 70
        assert world.service.worked == 200


async def test_it_takes_itself_out_when_its_time_is_over() -> None:
    async with a_world() as world:
        world.switch.renew({"drop_pct": 100.0, "for_s": 0.1})
        assert not world.is_plain()
        await until(world.is_plain)
        assert (await world.work())["time"] == 1


async def test_orders_come_over_the_lifeline_only_and_others_reach_the_service(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ours, theirs = socket.socketpair()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen(8)
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        service = Counting()
        serving = asyncio.ensure_future(serve(service, held.dup(), theirs))
        lines = [{"do": "faults", "drop_pct": 100}, {"do": "drain"}, {"do": "faults", "drop_pct": "all"}]
        ours.sendall("".join(json.dumps(line) + "\n" for line in lines).encode())
        await until(lambda: "passed over" in caplog.text)
        async with aiohttp.ClientSession() as client:
            with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
                await client.post(f"{url}/work", data=b"x")
            ours.sendall(b'{"do": "faults", "drop_pct": 0}\n')
            await until(_served_again(client, url, service))
            for path in ("/faults", "/lifeline"):
                answer = await client.post(f"{url}{path}", json={"do": "faults", "drop_pct": 100})
                assert answer.status == 404
        assert service.orders == [{"do": "drain"}]
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
    ours.close()


def _served_again(client: aiohttp.ClientSession, url: str, service: Counting) -> Callable[[], bool]:
    answers: list[int] = []

    async def ask() -> None:
        try:
            answers.append((await client.post(f"{url}/work", data=b"x")).status)
        except aiohttp.ClientError:
            return

    running: list[asyncio.Task[None]] = []

    def served() -> bool:
        if not running or running[-1].done():
            running.append(asyncio.ensure_future(ask()))
        return bool(answers)

    return served
