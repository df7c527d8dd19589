"""A small grid in the test's own loop: a supervisor's socket, POST /charge, and substations that keep records."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from gridctl.state import ClusterPaths
from tests.gridctl.loadtest.server import serving


@dataclass
class SmallGrid:
    """Two substations of `most` sessions each, filled by turns; sessions last `session_s` wall seconds."""

    most: int = 10
    session_s: float = 30.0
    time_scale: float = 10.0
    forgets: bool = False
    url: str = ""
    state_dir: str | None = None
    sessions: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"s1": [], "s2": []})
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hold: asyncio.Event | None = None

    async def charge(self, request: web.Request) -> web.Response:
        """202 from the emptier one, or 503."""
        self.asked.set()
        came_s = time.time()
        if self.hold is not None:
            await self.hold.wait()
        name = min(self.sessions, key=lambda name: len(self.sessions[name]))
        if len(self.sessions[name]) >= self.most:
            told = {"reason": "grid-full", "arrived_s": came_s, "refused_s": time.time()}
            return web.json_response(told, status=503)
        now = time.time()
        body = await request.json()
        self.sessions[name].append(
            {
                "request_id": request.headers["Idempotency-Key"],
                "ev_id": body["ev_id"],
                "power_kw": body.get("power_kw", 7.4),
                "started_s": now,
                "ends_s": now + self.session_s,
            }
        )
        return web.json_response({"routed_to": name, "request_id": request.headers["Idempotency-Key"]}, status=202)

    async def get(self, request: web.Request) -> web.Response:
        """The snapshot of the supervisor, or the records of one substation."""
        if request.path == "/snapshot":
            return web.json_response(self.snapshot())
        name = request.path.split("/")[1]
        if name == "balancer":
            return web.Response(text=self.counters())
        return web.json_response({"sessions": [] if self.forgets else self.records(name)})

    def records(self, name: str) -> list[dict[str, Any]]:
        """The sessions of one substation, with the ends that are past."""
        now = time.time()
        return [
            {**entry, "ended_s": entry["ends_s"] if entry["ends_s"] <= now else None} for entry in self.sessions[name]
        ]

    def counters(self) -> str:
        """What a balancer counted that asked each substation it chose once more than it had to."""
        accepted = sum(map(len, self.sessions.values()))
        series = (
            'attempts_total{result="accepted"}',
            'attempts_total{result="full"}',
            'requests_total{outcome="accepted"}',
        )
        return "".join(f"balancer_{each} {accepted}.0\n" for each in series)

    def snapshot(self) -> dict[str, Any]:
        """As the control API gives it, less what a load test does not read."""
        names = list(self.sessions)
        own = [{"name": name, "role": "substation", "url": f"{self.url}/{name}"} for name in names]
        own.append({"name": "balancer", "role": "balancer", "url": f"{self.url}/balancer"})
        return {
            "cluster": {"name": "small", "time_scale": self.time_scale, "state_dir": self.state_dir},
            "processes": [*own, {"name": "charge-request", "role": "charge-request", "url": self.url}],
            "substations": [{"name": name, "max_sessions": self.most, "capacity_kw": None} for name in names],
        }


@asynccontextmanager
async def running(grid: SmallGrid, environment: dict[str, str]) -> AsyncIterator[SmallGrid]:
    """`grid`, reachable as the cluster `small` of this environment's state folder."""
    paths = ClusterPaths(Path(environment["GRIDCTL_STATE_DIR"]), "small")
    paths.control_socket.parent.mkdir(parents=True, exist_ok=True)
    app = web.Application()
    app.router.add_get("/snapshot", grid.get)
    supervisor = web.AppRunner(app, shutdown_timeout=0.1)
    ready = [{"event": "state", "name": name, "role": "substation", "to": "READY"} for name in grid.sessions]
    events = ({"ts": "2026-11-21T10:00:00Z", "seq": number, **event} for number, event in enumerate(ready))
    paths.events.write_text("".join(json.dumps(event) + "\n" for event in events))
    grid.state_dir = str(paths.folder)
    async with serving(grid.charge, grid.get) as url:
        grid.url = url
        await supervisor.setup()
        try:
            await web.UnixSite(supervisor, str(paths.control_socket)).start()
            yield grid
        finally:
            await supervisor.cleanup()


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int | None
    out: str
    err: str


async def start(environment: dict[str, str], *arguments: str) -> asyncio.subprocess.Process:
    """`gridctl loadtest` with these arguments, as a process."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "gridctl", "loadtest", *arguments),
        env=environment,
        cwd=environment["HOME"],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


async def until_said(process: asyncio.subprocess.Process, word: bytes) -> None:
    """Until a line on stderr has `word` in it."""
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while word not in (line := await process.stderr.readline()):
            assert line, "it ended before it said so"


async def end(process: asyncio.subprocess.Process) -> Ended:
    """Its end, with all that it printed."""
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return Ended(process.returncode, out.decode(), err.decode())


async def loadtest(environment: dict[str, str], *arguments: str) -> Ended:
    """`gridctl loadtest` from start to end."""
    return await end(await start(environment, *arguments))
