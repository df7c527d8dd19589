"""How chaos reaches one cluster: signals to verified processes, orders to the supervisor, `up` again. Must not know when."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from config.errors import GridError, InUse
from gridctl.chaos.census import READY, Census, Person, send
from gridctl.chaos.guard import Guard
from gridctl.clusters import running
from gridctl.control import run_operation
from gridctl.identity import identify
from gridctl.launch import launch
from gridctl.state import ClusterPaths

#: How long a killed supervisor's lock may outlive it, and how often is looked (wall seconds).
GONE_S = 10.0
STEP_S = 0.02
#: A supervisor that is killed while it starts is started again, so often at most.
TRIES = 4


class Reach(Protocol):
    """What chaos can do to a cluster; the seam where tests put a fake. Methods never raise for what the cluster does."""

    async def find(self, name: str) -> Person | None:
        """The process `name` now; None where there is none."""
        ...

    def kill(self, person: Person) -> bool:
        """kill -9; False where it is gone."""
        ...

    def freeze(self, person: Person) -> bool:
        """SIGSTOP; False where it is gone."""
        ...

    def wake(self, person: Person) -> bool:
        """SIGCONT; False where it is gone."""
        ...

    async def order(self, verb: str, **args: Any) -> str:
        """Have the supervisor do `verb`; why it did not, "" where it did."""
        ...

    async def well(self, name: str) -> bool:
        """Whether the process `name` is READY, as the supervisor says."""
        ...

    async def revive(self, old: Person | None) -> str:
        """`up` again from the same source, once the supervisor `old` is gone; why not, "" where all is up."""
        ...


class Following(Protocol):
    """Who sends requests, and must know where to."""

    def left(self) -> None:
        """All who took requests for this cluster are gone."""
        ...

    def back(self) -> None:
        """The cluster was started anew, somewhere; `Census.snapshot` says where."""
        ...

    def lost(self) -> None:
        """It does not come back."""
        ...


@dataclass(slots=True)
class ClusterReach:
    """The real one. What blocks runs in threads. `client` is told when nobody is there, and where the cluster is again.

    `owes_up`: the supervisor was killed from here, and is not up again yet.
    """

    census: Census
    guard: Guard
    client: Following
    owes_up: bool = False
    _reviving: asyncio.Future[str] | None = None

    async def find(self, name: str) -> Person | None:
        """See `Reach.find`."""
        return await asyncio.to_thread(self.census.find, name)

    def kill(self, person: Person) -> bool:
        """See `Reach.kill`."""
        return send(person, signal.SIGKILL)

    def freeze(self, person: Person) -> bool:
        """See `Reach.freeze`."""
        return self.guard.freeze(person)

    def wake(self, person: Person) -> bool:
        """See `Reach.wake`."""
        return self.guard.wake(person)

    async def order(self, verb: str, **args: Any) -> str:
        """See `Reach.order`."""
        try:
            await asyncio.to_thread(run_operation, self.census.control, verb, args, _silent)
        except GridError as error:
            return error.message
        return ""

    async def well(self, name: str) -> bool:
        """See `Reach.well`."""
        try:
            await asyncio.to_thread(self.census.look)
        except GridError:
            return False
        return self.census.states.get(name) == READY

    async def revive(self, old: Person | None) -> str:
        """See `Reach.revive`. Several who ask at a time get the same one, which goes on when they are cancelled."""
        self.owes_up = True
        if self._reviving is None or self._reviving.done():
            self._reviving = asyncio.ensure_future(self._revive(old))
        return await asyncio.shield(self._reviving)

    async def _revive(self, old: Person | None) -> str:
        leaving = asyncio.ensure_future(self._leave(self.census.front()))
        why = await asyncio.to_thread(self._up_again, old)
        self.owes_up = bool(why)
        if why and not await asyncio.to_thread(self._answers):
            leaving.cancel()
            self.client.lost()
        else:  # also where it is not well: what takes requests by now is its own
            await leaving
            self.client.back()
        return why

    def _answers(self) -> bool:
        try:
            self.census.look()
        except GridError:
            return False
        return True

    async def _leave(self, front: Sequence[Person]) -> None:
        """Until `front` is gone: then their port may be anybody's."""
        for person in front:
            await asyncio.to_thread(_await_end, person)
        self.client.left()

    def _up_again(self, old: Person | None) -> str:
        paths, control, why = self.census.paths, self.census.control, ""
        record = paths.read_record()
        if record is None or "topology" not in record:
            return f"{paths.record} does not say what ran"
        wanted = {"topology": json.dumps(record["topology"]), "source": record["source"]}
        if old is not None:
            _await_end(old)
        for _ in range(TRIES):
            try:
                if not running(paths):
                    _launch(paths)
                run_operation(control, "apply", wanted, _silent)
                self.census.look()
            except GridError as error:  # it was killed again meanwhile, or does not come up
                why = error.message
                continue
            return ""
        return why


def _launch(paths: ClusterPaths) -> None:
    with contextlib.suppress(InUse):  # somebody else was faster
        launch(paths).let_go()


def _await_end(old: Person) -> None:
    """Until the process is gone; collected where it was started here, so that it does not stay as a zombie."""
    give_up = time.monotonic() + GONE_S
    while identify(old.pid) == old.identity and time.monotonic() < give_up:
        time.sleep(STEP_S)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(old.pid, os.WNOHANG)


def _silent(_: str) -> None: ...
