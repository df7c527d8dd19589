"""The running cluster: one loop is the only writer of its state, all else posts events to it. Must not know verbs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from config.errors import GridError
from config.names import CHARGE_REQUEST, EXTERNAL
from config.plan import ProcessSpec
from config.topology import Topology
from gridctl.backoff import Backoff
from gridctl.state import ClusterPaths
from gridctl.supervisor import happenings as life
from gridctl.supervisor.births import Births
from gridctl.supervisor.briefing import birth_of
from gridctl.supervisor.deadlines import Deadlines
from gridctl.supervisor.forking import Zygote, exits
from gridctl.supervisor.happenings import Event, State
from gridctl.supervisor.journal import Journal
from gridctl.supervisor.lifecycle import Life, Watched
from gridctl.supervisor.member import Member
from gridctl.supervisor.papers import Papers
from gridctl.supervisor.sockets import HeldSocket, busy
from services import sheet

log = logging.getLogger("gridctl.supervisor")

Watch = Callable[[Member], Awaitable[None]]
Routable = Callable[[], Awaitable[set[str]]]


@dataclass(slots=True)
class Cluster:
    """A cluster's members and the loop that moves them.

    `watch` follows one member's health for as long as it is in; `routable` asks the balancer whom it would choose.
    """

    paths: ClusterPaths
    journal: Journal
    zygote: Zygote
    watch: Watch
    routable: Routable
    topology: Topology | None = None
    source: str = ""
    started_at: float = field(default_factory=time.monotonic)
    members: dict[str, Member] = field(default_factory=dict)
    deratings: dict[str, dict[str, Any]] = field(default_factory=dict)
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False
    _sheet: int | None = None
    _events: asyncio.Queue[tuple[str, Event]] = field(default_factory=asyncio.Queue)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _births: Births = field(default_factory=Births)
    _deadlines: Deadlines = field(default_factory=Deadlines)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _zygote_deaths: int = 0
    _random: Random = field(default_factory=Random)
    _watches: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _papers: Papers = field(init=False)

    def __post_init__(self) -> None:
        self._papers = Papers(self.paths, self.members)

    # -- the outside -----------------------------------------------------------------------------------------------
    def post(self, name: str, event: Event) -> None:
        """Something happened to, or is wished for, member `name`; the loop will take it up."""
        self._events.put_nowait((name, event))

    def add(self, spec: ProcessSpec, held: HeldSocket | None) -> Member:
        """A new member, STOPPED until a Start is posted; an external one is only watched."""
        member = Member(spec, Watched() if spec.role == EXTERNAL else Life(), held)
        self.members[spec.name] = member
        self._watches[spec.name] = self._task(self.watch(member))
        return member

    async def idle(self) -> None:
        """Until everything posted so far was taken up."""
        await self._events.join()

    async def changed(self, timeout_s: float) -> bool:
        """Wait for the next change of anything, `timeout_s` at most; whether there was one."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)
            return True
        return False

    def specs(self) -> list[ProcessSpec]:
        """What should run now: each member's newest specification, without those that leave."""
        return [spec for member in self.members.values() if (spec := member.coming) is not None]

    def publish(self) -> None:
        """Where services are found changed: write the targets file."""
        self._papers.targets()

    # -- the loop -----------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Take up events, and the passing of time, until cancelled. The only place where a member's life moves."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)
        self.zygote.on_death = self._zygote_died
        self.zygote.start()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience()):  # not wait_for: before 3.12 it may forget a cancellation
                    name, event = await self._events.get()
                self._take(name, event)
                self._events.task_done()
            for name in self._deadlines.due(time.monotonic()):
                self._take(name, life.Tick())

    def _patience(self) -> float | None:
        next_s = self._deadlines.next_s()
        return None if next_s is None else max(0.0, next_s - time.monotonic())

    def _take(self, name: str, event: Event) -> None:
        member = self.members.get(name)
        if member is None:
            return
        now = time.monotonic()
        if isinstance(event, life.Spawned):
            member.born(event.pid, now)
            self._papers.roster()
        elif isinstance(event, life.Exited) and event.pid == member.life.pid:
            member.died()
            self._papers.roster()
        actions = member.life.handle(event, now)
        self._deadlines.set(name, member.life.deadline)
        for action in actions:
            if not self._act(member, action):
                break
        if actions or isinstance(event, life.Spawned):
            member.stirred.set()
            self._changed.set()
            self._changed = asyncio.Event()

    def _act(self, member: Member, action: life.Action) -> bool:
        match action:
            case life.Spawn():
                self._task(self._spawn(member))
            case life.Signal(number):
                member.signal(number)
            case life.Refuse(on):
                member.refusing = on
                member.tell({"do": "drain" if on else "undrain"})
                self.publish()
            case life.Drop(reason):
                member.tell({"do": "drop", "reason": reason})
            case life.Listen(on):
                return self._listen(member, on)
            case life.Moved(old, new, reason):
                self._moved(member, old, new, reason)
        return True

    def _listen(self, member: Member, on: bool) -> bool:
        if on and member.succeed():
            self.publish()
        if member.held is None:
            return True
        try:
            member.held.listen(on)
        except OSError:
            self.post(member.name, life.SpawnFailed(busy(member.name, member.held.port).message))
            return False
        return True

    def _moved(self, member: Member, old: State, new: State, reason: str) -> None:
        about = {"name": member.name, "role": member.spec.role, "from": old, "to": new, "reason": reason}
        self.journal.add("state", **about, pid=member.life.pid)
        if new is State.STOPPED and member.leaving:
            self.remove(member)
        elif new is State.STARTING and member.refusing:
            member.refusing = False
            self.publish()

    def remove(self, member: Member) -> None:
        """Forget a member that is down, and give its port back; its heir, if it has one, takes its place."""
        heir, member.heir = member.heir, None
        del self.members[member.name]
        self._deadlines.set(member.name, None)
        self._watches.pop(member.name).cancel()
        if member.spec.role == CHARGE_REQUEST and (other := next(self.by_role(CHARGE_REQUEST), None)) is not None:
            other.inherit(member)
        member.close()
        if heir is not None and not self.stopping:
            self.add(*heir)
            self.post(member.name, life.Start())
        self.publish()

    # -- processes ------------------------------------------------------------------------------------------------------
    async def _spawn(self, member: Member) -> None:
        name = member.name
        self._births.expect()
        try:
            pid = await self._bear(member)
        except (GridError, OSError) as error:
            self._births.missed()
            member.hang_up()
            self.post(name, life.SpawnFailed(str(error)))
            return
        self._zygote_deaths = 0
        status = self._births.born(pid, name)
        self.post(name, life.Spawned(pid))
        if status is not None:
            self.post(name, life.Exited(pid, status))

    async def _bear(self, member: Member) -> int:
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            member.hang_up()
            member.lifeline = ours
            if derating := self.deratings.get(member.name):
                member.tell({"do": "derate", **derating})
            member.count_anew()
            return await self.zygote.spawn(
                birth_of(member, self.members.values(), self.paths, theirs, self._memory(member))
            )

    def _memory(self, member: Member) -> int | None:
        """What workers share; it outlives each of them."""
        if self._sheet is None and member.spec.worker is not None:
            self._sheet = sheet.create()
        return self._sheet

    def reap(self) -> None:
        """Collect every child that ended and tell its member."""
        for pid, status in exits():
            if pid == self.zygote.pid:
                self.zygote.close()
            elif (name := self._births.ended(pid, status)) is not None:
                self.post(name, life.Exited(pid, status))

    def _zygote_died(self, pid: int) -> None:
        if self.stopping:
            return
        log.warning("the zygote (pid %d) died; starting another", pid)
        self.journal.add("note", name="zygote", reason="died, started again", pid=pid)
        self._zygote_deaths += 1
        delay_s = Backoff().delay_s(self._zygote_deaths, self._random)
        asyncio.get_running_loop().call_later(delay_s, self._restart_zygote)

    def _restart_zygote(self) -> None:
        if not self.stopping:
            self.zygote.start()

    # -- helpers of the loop --------------------------------------------------------------------------------------------
    def _task(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the supervisor failed", exc_info=error)

    def by_role(self, *roles: str) -> Iterator[Member]:
        """The members of these roles, in order."""
        return (member for member in list(self.members.values()) if member.spec.role in roles)

    def close(self) -> None:
        """Stop watching and give every socket back."""
        self.stopping = True
        self._papers.close()
        for task in list(self._tasks):
            task.cancel()
        for member in self.members.values():
            member.close()
        self.zygote.close()
        if self._sheet is not None:
            os.close(self._sheet)
            self._sheet = None
