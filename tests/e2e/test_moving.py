"""Substations that are killed and come back as somebody else, somewhere else: one session a request all the same."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from config.settings import BalancerSettings
from services.balancer.lookout import Dns
from services.balancer.service import BalancerService
from services.clock import SystemClock
from services.substation.journal import read
from tests.services.grid import Grid, a_grid, until

pytestmark = pytest.mark.e2e

#: So many live, at addresses that they take from each other, and two are killed so often.
ALIVE, KILLS = 4, 6
HOSTS = [f"127.0.0.{number}" for number in range(11, 11 + ALIVE)]
#: A request is sent this often (wall seconds), and again where it was not accepted.
EVERY_S = 0.01


class Engine:
    """Containers of one service: processes on one folder of journals, at addresses that it gives out as it likes."""

    def __init__(self, folder: Path, port: int, environment: dict[str, str], random: Random) -> None:
        self._folder, self._port, self._environment, self._random = folder, port, environment, random
        self._free = list(HOSTS)
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self.dns = Dns(self._resolve, again_s=0.5)

    async def _resolve(self, host: str, port: int) -> list[str]:
        assert (host, port) == ("substation", self._port)
        return [f"http://{each}:{port}" for each in self._running]

    async def start(self) -> None:
        """One more; once it listens."""
        host = self._free.pop(self._random.randrange(len(self._free)))
        flags = ("--host", host, "--port", str(self._port), "--name", "substation", "--journal-dir", str(self._folder))
        limits = ("--max-sessions", "10000", "--session-s", "100000", "--durability", "process")
        process = self._running[host] = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "gridctl", "serve", "substation", *flags, *limits),
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        await process.stdout.readline()

    async def kill(self, count: int) -> None:
        """`kill -9` so many of them, whichever."""
        killed = {host: self._running.pop(host) for host in self._random.sample(sorted(self._running), count)}
        for process in killed.values():
            process.kill()
        await asyncio.gather(*(process.wait() for process in killed.values()))
        self._free += killed

    async def __aenter__(self) -> Engine:
        await asyncio.gather(*(self.start() for _ in range(ALIVE)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill(len(self._running))


async def _balancer(grid: Grid, engine: Engine, port: int) -> BalancerService:
    settings = BalancerSettings(substations_dns=f"substation:{port}", seed=1, poll_interval_s=0.5, session_s=100_000.0)
    balancer = BalancerService(settings, SystemClock(), Random(1), dns=engine.dns)
    await grid.serve(balancer)
    await until(lambda: len(balancer.ledger) == ALIVE and balancer.health().status == "ok")
    return balancer


class Clients:
    """Ask for one EV after the other, each until it was accepted."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self.accepted: dict[str, str] = {}
        self.refusals: list[Any] = []

    async def run(self, over: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            number = 0
            while not over.is_set():
                group.create_task(self._ask(f"r{number}"))
                number += 1
                await asyncio.sleep(EVERY_S)  # sleep: the load's pace

    async def _ask(self, request_id: str) -> None:
        while True:
            answer = await self._grid.route(request_id, request_id=request_id)
            body = await answer.json()
            if answer.status == 202:
                self.accepted[request_id] = body["routed_to"]
                return
            self.refusals.append(body)
            assert answer.status in (503, 504), body
            await asyncio.sleep(0.1)  # sleep: a client that was told to come again


def _charging(folder: Path) -> dict[str, list[str]]:
    """request_id → the substations in whose journals it charges."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.db")):
        for session in read(path).sessions:
            if session.state == "charging":
                found.setdefault(session.request_id, []).append(path.stem)
    return found


async def test_one_session_a_request_whoever_is_where(
    tmp_path: Path, environment: dict[str, str], unused_tcp_port: int
) -> None:
    async with Engine(tmp_path, unused_tcp_port, environment, Random(7)) as engine, a_grid() as grid:
        balancer = await _balancer(grid, engine, unused_tcp_port)
        clients, over = Clients(grid), asyncio.Event()
        asking = asyncio.ensure_future(clients.run(over))
        for _ in range(KILLS):
            placed = len(clients.accepted)
            await until(lambda placed=placed: len(clients.accepted) > placed + 50)  # type: ignore[misc]
            await engine.kill(2)
            await asyncio.gather(engine.start(), engine.start())
        over.set()
        await asking
        await until(lambda: [account.state for account in balancer.ledger] == ["fresh"] * ALIVE)
        await until(lambda: not balancer.core.revocations)
    found = _charging(tmp_path)
    assert {request_id: [substation] for request_id, substation in clients.accepted.items()} == found
    owned = {substation for substations in found.values() for substation in substations}
    assert owned <= {f"substation-{number}" for number in range(1, ALIVE + 1)}, (
        "nobody begins a journal beside unowned ones"
    )
