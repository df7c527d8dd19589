"""The simulated processes: real substations and balancers, each with a journal on a disk, killed and started at will."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from aiohttp import web

from config.gossip import Note, read_note
from config.settings import BalancerSettings, SubstationSettings
from services.balancer import journal as balancer_journal
from services.balancer.service import BalancerService
from services.http import application
from services.journalfile import JournalError
from services.service import Service
from services.stream.answering import Streams
from services.stream.streaming import Streaming
from services.substation import journal as substation_journal
from services.substation.service import SubstationService
from services.substation.session import Session
from services.tracing import PassingTracer
from services.traffic import Traffic
from tests.services.simulation.line import SimulatedLine, SimulatedPeerLine
from tests.services.simulation.network import Port
from tests.services.virtual import Disk, Life, LoopClock

if TYPE_CHECKING:
    from tests.services.simulation.world import World


class Process:
    """One service and its lives. `calm_since_s`: since when it is up, ready and not paused; None while it is not."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.url = f"http://{name}"
        self.port = Port(name)
        self.disk = Disk(world.rng)
        self.path = world.folder / f"{name}.db"
        self.starts = 0
        self.life: Life | None = None
        self.listens_since_s: float | None = None
        world.network.ports[name] = self.port

    # -- what differs -------------------------------------------------------------------------------------------------
    def make(self, life: Life) -> Service:
        raise NotImplementedError

    def ready(self) -> bool:
        raise NotImplementedError

    def looked(self) -> None:
        """Something happened in it."""

    def dead(self) -> None:
        """It was killed."""

    # -- its lives ----------------------------------------------------------------------------------------------------
    def start(self) -> None:
        if self.life is not None:
            return
        self.starts += 1
        self.life = life = Life(f"{self.name}.{self.starts}", self.looked, self._died)
        self.world.lives.append(life)
        life.context.run(self._begin, life)

    def _begin(self, life: Life) -> None:
        service = self.make(life)
        task = asyncio.ensure_future(self._boot(service, life))
        task.add_done_callback(partial(self._booted, life))

    async def _boot(self, service: Service, life: Life) -> None:
        await service.start()
        traffic = Traffic()
        runner = web.AppRunner(application(service, traffic), access_log=None)
        await runner.setup()
        assert isinstance(runner.server, web.Server)
        streams = Streams(service, traffic, PassingTracer()) if isinstance(service, Streaming) else None
        self.world.network.listen(self.port, life, runner.server, streams)
        self.listens_since_s = self.world.now_s
        self.world.disturbed(self.name)

    def _booted(self, life: Life, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.world.violated("start", f"{life.name}: {error!r}")

    def clock(self) -> LoopClock:
        world = self.world
        return LoopClock(world.loop, world.time_scale, world.unix_s, world.machine)

    def kill(self, held: bool = True) -> None:
        if self.life is not None:
            self.port.held = held
            self.life.kill()

    def _died(self) -> None:
        self.world.note(f"{self.name} dies")
        self.life = None
        self.listens_since_s = None
        self.world.network.died(self.port)
        self.dead()

    def pause(self) -> None:
        if self.life is not None:
            self.life.pause()

    def unpause(self) -> None:
        if self.life is not None and self.life.paused:
            self.life.unpause(self.world.loop)
            self.world.disturbed(self.name)

    @property
    def reachable(self) -> bool:
        return self.life is not None and self.life.runs and self.listens_since_s is not None and self.ready()


class Station(Process):
    """A substation. `places` are the sessions that charge there, by request; also while it is down."""

    def __init__(self, world: World, name: str, settings: SubstationSettings) -> None:
        super().__init__(world, name)
        self.settings = settings
        self.service: SubstationService | None = None
        self.derated: dict[str, Any] = {}
        self.places: dict[str, Session] = {}
        self._seen = (0, 0)

    def make(self, life: Life) -> Service:
        random = Random(self.world.rng.getrandbits(64))
        clock = self.clock()
        self.service = SubstationService(
            self.settings, clock, random, self.disk.opener(life), partial(self.world.push, self.name)
        )
        self._seen = (0, 0)
        return self.service

    def ready(self) -> bool:
        return self.service is not None and self.service._recovery.done

    def grid_s(self) -> float:
        assert self.service is not None
        return self.service._clock.grid_s()

    def looked(self) -> None:
        service = self.service
        if service is None or not service._recovery.done:
            return
        core = service.admission
        if (core.epoch, core.seq) == self._seen:
            return
        fresh = self._seen[0] != core.epoch
        self._seen = (core.epoch, core.seq)
        before = self.places
        self.places = {session.request_id: session for session in core.running()}
        begun = [session for session in self.places.values() if before.get(session.request_id) is not session]
        if any(session.started_unix_s is None for session in begun):
            self._check_limits()
        for session in begun:
            self.world.began(self, session, resumed=fresh)

    def _check_limits(self) -> None:
        assert self.service is not None
        core = self.service.admission
        if core.sessions > core.max_sessions or (core.capacity_w is not None and core.load_w > core.capacity_w):
            found = f"{core.sessions} sessions, {core.load_w} W where {core.limits} are allowed"
            self.world.violated("I1", f"{self.name} admitted: {found}")

    def dead(self) -> None:
        """What stands in the journal goes on charging."""
        self.service = None
        self.places = {row.request_id: _session(row) for row in self.records() if row.state == "charging"}

    def records(self) -> tuple[substation_journal.SessionRecord, ...]:
        """All sessions in the journal."""
        with contextlib.suppress(FileNotFoundError, JournalError):
            return substation_journal.read(self.path).sessions
        return ()

    def lose(self) -> set[str]:
        """It is killed and its disk is gone; the requests that had a session there."""
        self.kill()
        lost = {row.request_id for row in self.records()}
        for end in ("", "-wal", "-shm", ".lock"):
            Path(f"{self.path}{end}").unlink(missing_ok=True)
        self.places = {}
        return lost

    def derate(self, **limits: float | None) -> None:
        self.derated = limits
        if self.life is not None and self.life.runs and self.service is not None:
            self.life.context.run(self.service.command, {"do": "derate", **limits})
            self.looked()

    def find(self, request_id: str) -> Session | None:
        """What it knows of `request_id`, from its journal while it is down."""
        if self.service is not None and self.ready():
            return self.service.admission.find(request_id)
        rows = [row for row in self.records() if row.request_id == request_id]
        return _session(rows[-1]) if rows else None

    def has_room(self, power_w: int) -> bool:
        assert self.service is not None
        core = self.service.admission
        core.advance(self.grid_s())
        return not (core.draining or core.closed) and core._fits(core.sessions, core.load_w, power_w)


class Desk(Process):
    """A balancer."""

    def __init__(self, world: World, name: str, settings: BalancerSettings) -> None:
        super().__init__(world, name)
        self.settings = settings
        self.service: BalancerService | None = None

    def make(self, life: Life) -> Service:
        random = Random(self.world.rng.getrandbits(64))
        line = SimulatedLine(self.world.network, self.name, self.url)
        peers = SimulatedPeerLine(self.world.network, self.name, self.url, self.world.told)
        self.service = BalancerService(self.settings, self.clock(), random, line, peers, self.disk.opener(life))
        return self.service

    def told(self, note: bytes) -> bytes:
        """What another balancer's note is answered."""
        found = read_note(note)
        assert self.service is not None
        assert isinstance(found, Note)
        return self.service.core.told(found).model_dump_json().encode()

    def ready(self) -> bool:
        return self.service is not None and self.service.health().status == "ok"

    def dead(self) -> None:
        self.service = None
        self.world.forgotten()

    def contents(self) -> balancer_journal.Contents:
        """What is safe in its journal."""
        with contextlib.suppress(FileNotFoundError, JournalError):
            return balancer_journal.read(self.path)
        return balancer_journal.Contents()


def _session(row: substation_journal.SessionRecord) -> Session:
    session = Session(
        row.request_id,
        row.ev_id,
        row.attempt,
        row.power_w,
        row.started_s,
        row.ends_s,
        row.number,
        row.state,
    )
    session.ended_s, session.reason = row.ended_s, row.reason
    return session
