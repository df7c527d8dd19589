"""A grid of real balancers and substations in virtual time, its clients, and what must hold after every step (DESIGN §4)."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from config.settings import BalancerSettings, SubstationSettings
from services.balancer.service import BalancerService
from services.deadline import grant
from services.substation.session import Session
from tests.services.simulation.asking import Asking
from tests.services.simulation.network import CALM, Network, Weather
from tests.services.simulation.processes import Desk, Process, Station
from tests.services.virtual import LIFE, Life, VirtualLoop

#: A revoked duplicate ends within 2 s of its substation being reachable; the rest is the travel of messages and the tick.
GRACE_S = 2.0 + 0.1
_TICK_S = 0.25
#: So long after the last fault (wall seconds), and two polls, nothing of them is to be seen: an ejection lasts 30 s at most.
_HEALED_S = 50.0
#: A client waits so long for an answer (wall seconds).
_PATIENCE_S = 10.0
#: Within this after it can be reached again a balancer knows what runs at a substation (wall seconds): a poll that is out
#: ends, the next one is answered, and the list of sessions is asked for.
_COLLECTED_S = 8.0
#: Set it to have every message in the trace.
_TALK = bool(os.environ.get("SIMULATION_TALKS"))


class Violation(AssertionError):
    """A promise was broken."""


@dataclass(slots=True)
class Promise:
    """A request of a client, and what it was told: substations, and whether it has a place in a queue."""

    request_id: str
    ev_id: str
    fields: dict[str, Any]
    told: list[str] = field(default_factory=list)
    queued: bool = False
    forgotten: bool = False
    cancelling: bool = False
    cancelled: bool = False
    over: bool = False

    @property
    def promised(self) -> bool:
        return bool(self.told) or self.queued


class World:
    """`places` are the sessions that each substation holds; all chances are drawn from `seed`."""

    def __init__(
        self,
        seed: int,
        places: list[int],
        balancers: int = 1,
        machine: str = "",
        time_scale: float = 1.0,
        capacity_kw: float | None = None,
        **settings: Any,
    ) -> None:
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=memory if memory.is_dir() else None))
        self.rng = Random(seed)
        self.loop = VirtualLoop()
        self.network = Network(self.loop, self.rng, self.note if _TALK else lambda _: None)
        self.machine = machine
        self.time_scale = time_scale
        self.lives: list[Life] = []
        self.violations: list[str] = []
        self.promises: dict[str, Promise] = {}
        self.lost: set[str] = set()
        self.trace: list[str] = []
        self.statuses: dict[str, int] = {}
        self._jumped_s = 0.0
        self._calm_since_s: dict[frozenset[str], float] = {}
        self._overlaps: dict[str, tuple[float, float]] = {}
        self._began_s: dict[tuple[str, str], float] = {}
        self._forgot_s = -math.inf
        self._clients: list[asyncio.Task[None]] = []
        self.stations = {
            f"s{number}": Station(self, f"s{number}", self._station(f"s{number}", most, capacity_kw))
            for number, most in enumerate(places, start=1)
        }
        names = [f"b{number + 1}" for number in range(balancers)]
        self.desks = {name: Desk(self, name, self._desk(name, names, **settings)) for name in names}
        self._asking = Asking(self.network, {name: desk.url for name, desk in self.desks.items()})
        self._ticking = self.loop.create_task(self._tick())
        for process in self.processes:
            self._in_loop(process.start)

    def _station(self, name: str, most: int, capacity_kw: float | None) -> SubstationSettings:
        return SubstationSettings(
            name=name,
            max_sessions=most,
            capacity_kw=capacity_kw,
            time_scale=self.time_scale,
            journal=str(self.folder / f"{name}.db"),
            durability="process",
        )

    def _desk(self, name: str, names: list[str], **settings: Any) -> BalancerSettings:
        return BalancerSettings(
            name=name,
            substations=tuple(f"{each}=http://{each}" for each in self.stations),
            time_scale=self.time_scale,
            journal=str(self.folder / f"{name}.db"),
            durability="process",
            url=f"http://{name}",
            peers=tuple(f"http://{each}" for each in names) if len(names) > 1 else (),
            **settings,
        )

    @property
    def processes(self) -> list[Process]:
        return [*self.stations.values(), *self.desks.values()]

    @property
    def now_s(self) -> float:
        return self.loop.time()

    @property
    def unix_s(self) -> float:
        return 1_000_000.0 + self.now_s + self._jumped_s

    def process(self, name: str) -> Process:
        return self.stations.get(name) or self.desks[name]

    # -- what is seen -------------------------------------------------------------------------------------------------
    def note(self, text: str) -> None:
        self.trace.append(f"{self.now_s:9.3f} {text}")

    def violated(self, rule: str, text: str) -> None:
        self.note(f"VIOLATION {rule}: {text}")
        self.violations.append(f"{rule} at {self.now_s:.3f}: {text}")

    def began(self, station: Station, session: Session, resumed: bool) -> None:
        """`session` charges at `station` from now on, as far as anybody could see."""
        self.note(f"{session.request_id} charges at {station.name} (attempt {session.attempt}){' again' * resumed}")
        self._began_s.setdefault((session.request_id, station.name), self.now_s)
        if len(self.charging(session.request_id)) > 1 and session.request_id not in self._overlaps:
            allowed_s = GRACE_S if self._is_covered(session.request_id) else _COLLECTED_S
            self._overlaps[session.request_id] = (self.now_s, allowed_s)

    def charging(self, request_id: str) -> list[tuple[Station, Session]]:
        """Where `request_id` charges now."""
        found = []
        for station in self.stations.values():
            session = station.places.get(request_id)
            if session is None or session.state != "charging":
                continue
            if station.service is None or not station.ready() or session.ends_s > station.grid_s():
                found.append((station, session))
        return found

    def _is_covered(self, request_id: str) -> bool:
        """I2: whether all sessions of it but one are revoked by what a balancer has journaled; or nobody could know."""
        charging = self.charging(request_id)
        bare = [station.name for station, session in charging if not self._is_revoked(station.name, session)]
        if len(bare) > 1 and not any(self._was_unknowable(request_id, name) for name in bare):
            self.violated("I2", f"{request_id} charges at {' and '.join(bare)}, and no journal revokes any of them")
        return len(bare) < 2

    def _was_unknowable(self, request_id: str, name: str) -> bool:
        """Whether the balancers lost what they knew of the session at `name`, and could not ask there since then.

        What a balancer knows of sessions that it placed dies with it, and one that could not be reached was not told; while
        their substation is silent too, nobody knows of them (DESIGN §4: no protocol gives both "exactly one" and "always
        place at once"). Once it is heard, one ends.
        """
        reached_s = self._calm_since([name], [(desk, name) for desk in self.desks])
        forgot_s = self._forgetting_s()
        began_s = self._began_s.get((request_id, name), math.inf)
        was_silent = (reached_s >= forgot_s or forgot_s == self.now_s) and self.now_s - reached_s <= _COLLECTED_S
        return began_s <= forgot_s and was_silent

    def _is_split(self) -> bool:
        """Whether lately balancers did not hear each other while some substation was silent: none could fence another there.

        Two may then tell a client of a session each; the one of the lower attempt ends once its substation is heard.
        """
        pairs = [(desk, station) for desk in self.desks for station in self.stations]
        silent_s = self.now_s - self._calm_since(list(self.stations), pairs)
        return len(self.desks) > 1 and max(silent_s, self.now_s - self._forgetting_s()) <= GRACE_S

    def _forgetting_s(self) -> float:
        """When a balancer forgot last, or was not told: when it died, and of several while not all hear each other."""
        if len(self.desks) == 1:
            return self._forgot_s
        pairs = [(one, other) for one in self.desks for other in self.desks if one < other]
        return max(self._forgot_s, self._calm_since(list(self.desks), pairs))

    def forgotten(self) -> None:
        """A balancer died, and what it knew."""
        self._forgot_s = self.now_s

    def _is_revoked(self, name: str, session: Session) -> bool:
        key = (name, session.request_id)
        return any(
            (row.substation, row.request_id) == key and row.attempt >= session.attempt and row.revoked_s is not None
            for desk in self.desks.values()
            for row in desk.contents().attempts
        )

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)  # sleep: virtual time
            for request_id, (since_s, allowed_s) in list(self._overlaps.items()):
                charging = self.charging(request_id)
                if len(charging) < 2:
                    del self._overlaps[request_id]
                elif self._calm_for_s([station.name for station, _ in charging], since_s) > allowed_s:
                    where = " and ".join(station.name for station, _ in charging)
                    self.violated("I2", f"{request_id} charges at {where} though all of them are reachable")
                    del self._overlaps[request_id]

    # -- who can be reached -------------------------------------------------------------------------------------------
    def disturbed(self, *names: str) -> None:
        self._calm_since_s[frozenset(names)] = self.now_s

    def _calm_for_s(self, stations: Iterable[str], since_s: float) -> float:
        """How long by now all balancers can reach all of `stations`, and each other."""
        names = [*self.desks, *stations]
        pairs = [(desk, other) for desk in self.desks for other in names if desk != other]
        return self.now_s - max(since_s, self._calm_since(names, pairs))

    def _calm_since(self, names: Iterable[str], pairs: Iterable[tuple[str, str]]) -> float:
        """Since when all of `names` are up, and nothing is between any of the `pairs`; now, where something is."""
        since_s = 0.0
        for name in names:
            if not self.process(name).reachable:
                self.disturbed(name)
            since_s = max(since_s, self._calm_since_s.get(frozenset((name,)), 0.0))
        for pair in pairs:
            if self.network.between(*pair).bad:
                self.disturbed(*pair)
            since_s = max(since_s, self._calm_since_s.get(frozenset(pair), 0.0))
        return since_s

    # -- what is done -------------------------------------------------------------------------------------------------
    def _in_loop(self, what: Any) -> None:
        """Does `what` as the world, in the loop."""
        self.loop.call_soon(what)
        self.loop.run_for(0.0)

    def run_for(self, wall_s: float) -> None:
        """Lets time pass."""
        self.loop.run_for(wall_s)

    def weather(self, one: str, other: str, weather: Weather) -> None:
        self.note(f"{one} to {other}: {weather}")
        self.disturbed(one, other)
        self.network.set(one, other, weather)

    def kill(self, name: str, after_steps: int = 0, held: bool = True) -> None:
        process = self.process(name)
        if process.life is None:
            return
        if after_steps:
            process.port.held = held
            process.life.dies_at = process.life.steps + after_steps
        else:
            self._in_loop(lambda: process.kill(held))

    def start(self, name: str) -> None:
        self._in_loop(self.process(name).start)

    def pause(self, name: str) -> None:
        self.note(f"{name} is paused")
        self._in_loop(self.process(name).pause)

    def unpause(self, name: str) -> None:
        self.note(f"{name} goes on")
        self._in_loop(self.process(name).unpause)

    def lose(self, name: str) -> None:
        """A substation's disk is gone, with all sessions."""
        self.note(f"{name} loses its disk")
        self._in_loop(lambda: self.lost.update(self.stations[name].lose()))

    def derate(self, name: str, max_sessions: int | None) -> None:
        self.note(f"{name} is derated to {max_sessions}")
        self._in_loop(lambda: self.stations[name].derate(max_sessions=max_sessions))

    def unplug(self, request_id: str) -> None:
        """The EV leaves: its substation is told, not the balancer."""
        self.promises[request_id].cancelling = True
        for station, _ in self.charging(request_id):
            self.note(f"{request_id} is unplugged at {station.name}")
            asking = self.network.ask("ev", station.url, "DELETE", f"/sessions/{request_id}", timeout_s=30.0)
            self._client(self._quietly(asking))

    def calm(self) -> None:
        """The weather is fine everywhere."""
        self.note("calm")
        self.network.calm()
        for one in self.processes:
            for other in self.processes:
                self.disturbed(one.name, other.name)

    def disk(self, name: str, slow_s: float, full: bool = False) -> None:
        """What writing is like there from now on."""
        self.note(f"{name}'s disk: {slow_s} s a write{', full' * full}")
        disk = self.process(name).disk
        disk.slow_s, disk.full = slow_s, full

    def jump(self, wall_s: float) -> None:
        """Somebody sets the machine's clock."""
        self.note(f"the clock jumps by {wall_s}")
        self._jumped_s += wall_s

    def told(self, url: str, note: bytes) -> bytes:
        """What the balancer at `url` answers to another one's note."""
        return next(desk for desk in self.desks.values() if desk.url == url).told(note)

    async def push(self, sender: str, url: str, body: bytes) -> None:
        """How a substation tells a balancer."""
        base, _, path = url.rpartition("/")
        await self.network.ask(sender, base, "POST", f"/{path}", body, timeout_s=1.0)

    async def _quietly(self, asking: Any) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            await asking

    # -- clients ------------------------------------------------------------------------------------------------------
    def _client(self, coro: Any) -> None:
        assert LIFE.get() is None
        self._clients = [task for task in self._clients if not task.done()]
        self._clients.append(self.loop.create_task(coro))

    def ask(self, request_id: str, ev_id: str, desk: str, patience_s: float = _PATIENCE_S, **fields: Any) -> None:
        """A client asks for `request_id` at `desk`, perhaps not for the first time."""
        promise = self.promises.setdefault(request_id, Promise(request_id, ev_id, fields))
        self._client(self._ask(promise, desk, patience_s))

    async def _ask(self, promise: Promise, desk: str, patience_s: float) -> None:
        self._remember(promise)
        document = {"ev_id": promise.ev_id, "request_id": promise.request_id, **promise.fields}
        since_s, cancelled = self.now_s, promise.cancelled
        self.note(f"client asks {desk} for {promise.request_id}")
        try:
            reply = await self._asking.ask(desk, promise.request_id, document, patience_s)
        except (ConnectionError, TimeoutError) as error:
            self._remember(promise)
            self.note(f"client hears nothing of {promise.request_id}: {error!r}")
            if isinstance(error, TimeoutError) and self._calm_for_client_s(desk) > self.now_s - since_s:
                self.violated("deadline", f"{promise.request_id} was not answered within {patience_s} s")
            return
        found = reply.document
        self._remember(promise)
        self.note(f"{desk} answers {promise.request_id}: {reply.status} {found.get('routed_to', found.get('reason'))}")
        key = f"{reply.status} {found.get('reason') or found.get('response', {}).get('status')}"
        self.statuses[key] = self.statuses.get(key, 0) + 1
        if reply.status == 202 and cancelled and not promise.over:
            self.violated("I3", f"{promise.request_id} was cancelled and is answered {found}")
        elif reply.status == 202:
            self._told(promise, found)

    def _remember(self, promise: Promise) -> None:
        """Who asks again for what its balancer had to forget may be told something else."""
        if any(self._was_unknowable(promise.request_id, name) for name in promise.told):
            promise.forgotten = True

    def _calm_for_client_s(self, desk: str) -> float:
        process = self.process(desk)
        if not process.reachable or process.disk.bad or self.network.between("client", desk).bad:
            return 0.0
        calm = [self._calm_since_s.get(frozenset(key), 0.0) for key in ((desk,), ("client", desk))]
        return self.now_s - max(*calm, process.listens_since_s or 0.0)

    def _told(self, promise: Promise, found: dict[str, Any]) -> None:
        name = found.get("routed_to")
        if name is None:
            promise.queued = True
        elif name not in promise.told:
            promise.forgotten = promise.forgotten or self._is_split()
            promise.told.append(name)
            if len(promise.told) > 1 and promise.request_id not in self.lost and not promise.forgotten:
                self.violated("I2", f"the client of {promise.request_id} was told {' and '.join(promise.told)}")

    def cancel(self, request_id: str, desk: str) -> None:
        self.promises[request_id].cancelling = True
        self._client(self._cancel(self.promises[request_id], desk))

    async def _cancel(self, promise: Promise, desk: str) -> None:
        url, path = self.desks[desk].url, f"/requests/{promise.request_id}"
        self.note(f"client cancels {promise.request_id} at {desk}")
        try:
            reply = await self.network.ask("client", url, "DELETE", path, headers=grant(10.0))
        except (ConnectionError, TimeoutError):
            return
        self.note(f"{desk} answers the cancel of {promise.request_id}: {reply.status} {reply.document}")
        if reply.status == 200 and reply.document.get("state") == "cancelled":
            promise.cancelled = True

    # -- what must hold -----------------------------------------------------------------------------------------------
    def check(self) -> None:
        """I3 for every promise, and whatever else was found; raises Violation."""
        for promise in self.promises.values():
            if promise.promised and not promise.over:
                self._check_promise(promise)
        self.violations += [f"error: {text}" for text in self.loop.errors]
        if self.violations:
            raise Violation("\n".join(self.violations))

    def _check_promise(self, promise: Promise) -> None:
        request_id = promise.request_id
        found = [(name, station.find(request_id)) for name, station in self.stations.items()]
        sessions = [(name, session) for name, session in found if session is not None]
        if any(session.state == "charging" for _, session in sessions):
            return
        if any(self._ended_rightly(promise, session) for _, session in sessions) or request_id in self.lost:
            promise.over = True
            return
        revoked = any(session.state == "revoked" for _, session in sessions)
        if not self._waits(promise) and not (promise.forgotten and revoked):
            known = [(name, session.state, session.attempt) for name, session in sessions]
            self.violated("I3", f"{request_id} was answered 202 and has neither session nor place: {known}")

    def _ended_rightly(self, promise: Promise, session: Session) -> bool:
        if session.state == "ended":
            return session.ended_s == session.ends_s
        if session.state == "cancelled":
            return promise.cancelling
        return session.state == "dropped" and bool(session.reason)

    def _waits(self, promise: Promise) -> bool:
        for desk in self.desks.values():
            rows = {row.request_id: row for row in desk.contents().queue}
            row = rows.get(promise.request_id)
            if desk.service is not None and desk.service.queue.find(promise.request_id) is not None:
                return True
            if row is not None and row.state == "queued" and (desk.service is None or not desk.ready()):
                return True
            left = None if desk.service is None else desk.service.queue.left(promise.request_id)
            if left is not None or (row is not None and row.state in ("dropped", "cancelled")):
                promise.over = True
                return True
        return False

    # -- the end ------------------------------------------------------------------------------------------------------
    def heal(self) -> None:
        """All faults end."""
        self.note("all faults end")
        self.calm()
        for process in self.processes:
            process.disk.heal()
            if process.life is not None:
                process.life.dies_at = None
                self.unpause(process.name)
            else:
                self.start(process.name)

    def finish(self) -> None:
        """All faults end, and after a while all is as it should be; every client gets its old answer again."""
        self.heal()
        self._expect_healed(_HEALED_S + 2 * max(desk.settings.poll_interval_s for desk in self.desks.values()))
        for promise in self.promises.values():
            if promise.told and not promise.over and not promise.cancelling:
                self.ask(promise.request_id, promise.ev_id, self.rng.choice(list(self.desks)))
        self.run_for(_PATIENCE_S)
        self._expect_healed(_HEALED_S)

    def _expect_healed(self, within_s: float) -> None:
        until_s = self.now_s + within_s
        while True:
            self.run_for(1.0)
            self.check()
            left = self._left_over()
            if not left:
                return
            if self.now_s > until_s and not self._is_between():
                raise Violation(f"{within_s} s after all faults ended: " + "; ".join(left))

    def _left_over(self) -> list[str]:
        """What of the faults is still to be seen: nothing once nothing disturbed for a while, and all beliefs are true."""
        left = [f"{process.name} is not ready" for process in self.processes if not process.reachable]
        if left:
            return left
        for desk in self.desks.values():
            assert desk.service is not None
            left += self._misbelieved(desk.service)
            left += self._kept_waiting(desk.service)
            open_ = [
                row for row in desk.contents().attempts if row.revoked_s is not None and row.acknowledged_s is None
            ]
            left += [f"{desk.name} has yet to revoke {row}" for row in open_]
            left += [f"{desk.name} does not believe in {url}" for url in self._unknown(desk)]
        return left + [f"{request_id} charges twice" for request_id in self._overlaps]

    def _unknown(self, desk: Desk) -> set[str]:
        assert desk.service is not None
        return {each.url for each in self.desks.values() if each is not desk} - {
            peer.url for peer in desk.service.core.members.up
        }

    def _misbelieved(self, service: BalancerService) -> list[str]:
        service.ledger.advance(self.now_s)
        left = []
        for account in service.ledger:
            station = self.stations[account.target.name]
            assert station.service is not None
            core = station.service.admission
            core.advance(station.grid_s())
            if account.pending:
                left.append(f"{service.name} still assumes {account.pending} at {station.name}")
            believed, true = (account.node.sessions, account.node.load_w), (core.sessions, core.load_w)
            if believed != true or account.state != "fresh":
                left.append(f"{service.name} believes {believed}, {account.state} of {station.name}, which has {true}")
        return left

    def _kept_waiting(self, service: BalancerService) -> list[str]:
        first = service.queue.first()
        if first is None:
            return []
        room = [name for name, station in self.stations.items() if station.has_room(first.power_w)]
        return [f"{first.request_id} waits at {service.name} though there is room at {room}"] if room else []

    def _is_between(self) -> bool:
        """Whether a session ends about now: balancers believe that rather early, substations to the instant."""
        return any(
            abs(session.ends_s - station.grid_s()) < self.time_scale
            for station in self.stations.values()
            for session in station.places.values()
        )

    def close(self) -> None:
        """Clears all away; what was killed is closed without running on."""
        self._ticking.cancel()
        for task in self._clients:
            task.cancel()
        for process in self.processes:
            process.looked = lambda: None  # type: ignore[method-assign]
        for life in self.lives:
            for worker in life.workers:
                worker.kill()
            life.over = life.ghost = True
        self._client(self._asking.close())
        self.loop.run_for(0.1)
        self._in_loop(self._bury)
        self.loop.run_for(0.1)  # what was begun by that ends
        self.loop.close()
        shutil.rmtree(self.folder)

    def _bury(self) -> None:
        for task in [task for life in self.lives for task in life.tasks if not task.done()]:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with contextlib.suppress(
                RuntimeError, AttributeError
            ):  # the second: one that is compiled, closed in a `finally`
                task.get_coro().close()


__all__ = ["CALM", "Violation", "Weather", "World"]
