"""A real cluster with a fake zygote: its services are sleepers, healthy when a test says so."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config.errors import GridError
from config.topology import Topology
from gridctl.state import ClusterPaths
from gridctl.supervisor.cluster import Cluster
from gridctl.supervisor.forking import Birth, Zygote
from gridctl.supervisor.happenings import Probed
from gridctl.supervisor.journal import Journal
from gridctl.supervisor.member import Member
from gridctl.supervisor.verbs import VERBS
from gridctl.supervisor.waiting import Line


@dataclass(slots=True)
class Cradle(Zygote):
    """Gives birth to sleepers; `failing` names those whose birth fails, `held` keeps all waiting until it is set."""

    failing: set[str] = field(default_factory=set)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    born: list[str] = field(default_factory=list)

    def start(self) -> Any:
        """Nothing is needed."""

    async def spawn(self, birth: Birth) -> int:
        """A sleeper's PID."""
        await self.held.wait()
        if birth.name in self.failing:
            raise GridError(f"{birth.name}: no room")
        self.born.append(birth.name)
        return _sleeper()


def _sleeper() -> int:
    process = subprocess.Popen(["sleep", "60"])
    process.returncode = 0  # reaped by the cluster
    return process.pid


@dataclass(slots=True)
class World:
    """What a test holds."""

    cluster: Cluster
    cradle: Cradle
    sick: set[str]

    async def operate(self, verb: str, **args: Any) -> list[Line]:
        """Run a verb to its end; its lines."""
        return [line async for line in VERBS[verb](self.cluster, args)]

    async def apply(self, topology: dict[str, Any], source: str = "test", **args: Any) -> list[Line]:
        """Converge to `topology`."""
        text = Topology(**topology).model_dump_json()
        return await self.operate("apply", topology=text, source=source, **args)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; TimeoutError after ten seconds."""
        async with asyncio.timeout(10):
            while not condition():
                await self.cluster.changed(0.02)

    def state(self, name: str) -> str:
        """The state of a member."""
        return self.cluster.members[name].state.value


@contextlib.asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """A cluster in `folder` whose loop runs until the block ends; whoever is not in `sick` is healthy at once."""
    paths = ClusterPaths(folder, "grid")
    paths.logs.mkdir(parents=True)
    cradle = Cradle(asyncio.get_running_loop())
    cradle.held.set()
    sick: set[str] = set()

    async def watch(member: Member) -> None:
        while True:
            if member.life.pid is not None or member.external:
                cluster.post(member.name, Probed(member.name not in sick, "sick", empty=True))
            await asyncio.sleep(0.01)  # sleep: this is how often a watcher asks

    async def routable() -> set[str]:
        return set(cluster.members)

    cluster = Cluster(paths, Journal(paths.events), cradle, watch, routable)
    engine = asyncio.create_task(cluster.run())
    result = World(cluster, cradle, sick)
    try:
        yield result
        await result.operate("down", stop_timeout_s=5)
    finally:
        cluster.close()
        engine.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await engine
