"""The life of one process as a pure state machine: events and the time in, actions out. Must not know the operating system.

STOPPED ─Start→ STARTING ─healthy→ READY ⇄ UNHEALTHY        DRAINING ─empty or timeout→ STOPPING ─exit→ STOPPED
                   ▲ └─exit→ BACKOFF ─┐  READY ⇄ PAUSED       (Drain: from any living state; Stop likewise)
                   └──────────────────┘  never READY in `Limits.failed_starts` starts → FATAL
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from gridctl.backoff import Backoff
from gridctl.supervisor.happenings import (
    LIVING,
    RESTING,
    Action,
    Drain,
    Drop,
    Event,
    Exited,
    Kill,
    Limits,
    Listen,
    Moved,
    Pause,
    Probed,
    Refuse,
    Signal,
    Spawn,
    Spawned,
    SpawnFailed,
    Start,
    State,
    Stop,
    Tick,
    Unpause,
    describe_exit,
)


@dataclass(slots=True)
class Life:
    """One process's state and the rules that move it. `handle` is the only way in; it never blocks and never raises."""

    limits: Limits = field(default_factory=Limits)
    backoff: Backoff = field(default_factory=Backoff)
    random: Random = field(default_factory=Random)
    state: State = State.STOPPED
    pid: int | None = None
    reason: str = ""
    restarts: int = 0
    since: float = 0.0
    deadline: float | None = None
    _crashes: int = 0
    _failed_starts: int = 0
    _failed_probes: int = 0
    _ready_at: float | None = None
    _leaving: Stop | None = None
    _killing: bool = False
    _draining: Drain | None = None

    def handle(self, event: Event, now: float) -> list[Action]:
        """Apply `event` at monotonic time `now`; returns what must be done, in order."""
        rule = _RULES[type(event)]
        return rule(self, event, now)

    def _move(self, new: State, now: float, reason: str = "", deadline: float | None = None) -> list[Action]:
        old, self.state, self.reason, self.deadline = self.state, new, reason, deadline
        if old is new:
            return []
        self.since = now
        return [Moved(old, new, reason)]

    # -- wishes of users --------------------------------------------------------------------------------------------
    def _start(self, _: Start, now: float) -> list[Action]:
        self._draining = None
        if self.state in LIVING:
            if self.state is State.DRAINING:
                self._leaving = None
                return [Refuse(False), *self._move(State.READY, now)]
            if self.state is State.STOPPING and self._leaving is not None:
                self._leaving = Stop(self._leaving.timeout_s, again=True)
            return self._unpause(Unpause(), now)
        self._crashes = self._failed_starts = 0
        return self._spawn(now)

    def _spawn(self, now: float, reason: str = "") -> list[Action]:
        self._killing, self._leaving = False, None
        self._failed_probes, self._ready_at = 0, None
        moved = self._move(State.STARTING, now, reason, now + self.limits.start_s)
        return [*moved, Listen(True), Spawn()]

    def _stop(self, event: Stop, now: float) -> list[Action]:
        if self.state in RESTING or self.state is State.BACKOFF:
            if event.again:
                self.restarts += self.state is State.BACKOFF
                return self._start(Start(), now)
            return [*self._move(State.STOPPED, now), Listen(False)]
        self._leaving, self._draining = event, None
        if self.state is State.STOPPING:  # a second SIGTERM would end the answering; less patience counts
            self.deadline = min(self.deadline, now + event.timeout_s) if self.deadline is not None else None
            return []
        moved = self._move(State.STOPPING, now, deadline=now + event.timeout_s)
        return [*moved, *self._terminate()]

    def _terminate(self) -> list[Action]:
        if self.pid is None:
            return []
        return [Signal(signal.SIGCONT), Signal(signal.SIGTERM)]

    def _drain(self, event: Drain, now: float) -> list[Action]:
        if self.state not in LIVING or self.state in {State.STARTING, State.STOPPING}:
            return self._stop(event.then, now)
        wake: list[Action] = [Signal(signal.SIGCONT)] if self.state is State.PAUSED else []
        self._leaving, self._draining = event.then, event
        return [*wake, Refuse(True), *self._move(State.DRAINING, now, deadline=now + event.timeout_s)]

    def _kill(self, event: Kill, _now: float) -> list[Action]:
        return [Signal(event.signal)] if self.pid is not None else []

    def _pause(self, _: Pause, now: float) -> list[Action]:
        if self.state not in {State.READY, State.UNHEALTHY} or self.pid is None:
            return []
        return [Signal(signal.SIGSTOP), *self._move(State.PAUSED, now)]

    def _unpause(self, _: Unpause, now: float) -> list[Action]:
        if self.state is not State.PAUSED:
            return []
        self._failed_probes = 0
        return [Signal(signal.SIGCONT), *self._move(State.READY, now)]

    # -- what the system reports ------------------------------------------------------------------------------------
    def _spawned(self, event: Spawned, now: float) -> list[Action]:
        self.pid = event.pid
        overdue = self.deadline is None  # patience ended before there was a process
        if self.state is State.STOPPING:
            return [Signal(signal.SIGKILL)] if overdue else self._terminate()
        if overdue or self.state is State.STARTING:  # its own time counts, not that of births before it
            self.deadline = now + self.limits.start_s
        return []

    def _spawn_failed(self, event: SpawnFailed, now: float) -> list[Action]:
        if self.state is State.STOPPING or self._draining is not None:
            return self._gone(now)
        return self._crashed(event.reason, now)

    def _exited(self, event: Exited, now: float) -> list[Action]:
        if event.pid != self.pid:
            return []
        self.pid = None
        if self._draining is not None and self._draining.drop and self.state is State.DRAINING:
            return self._finish_draining(self._draining, now)
        if self.state is State.STOPPING or self._draining is not None:
            return self._gone(now)
        why = describe_exit(event.status)
        if self._killing:
            why = f"not healthy within {self.limits.start_s:g} s ({self.reason or 'no answer'})"
        return self._crashed(why, now)

    def _finish_draining(self, draining: Drain, now: float) -> list[Action]:
        """It died over sessions that nobody else has: up once more, to resume them and drain on."""
        left_s = 0.0 if self.deadline is None else max(0.0, self.deadline - now)
        self._draining = Drain(left_s, draining.then, drop=True)
        self.restarts += 1
        return self._spawn(now)

    def _gone(self, now: float) -> list[Action]:
        again = self._leaving is not None and self._leaving.again
        self._leaving = self._draining = None
        if again:
            self.restarts += 1
            return self._spawn(now)
        return [*self._move(State.STOPPED, now), Listen(False)]

    def _crashed(self, reason: str, now: float) -> list[Action]:
        if self._ready_at is None:
            self._failed_starts += 1
        elif now - self._ready_at >= self.limits.stable_s:
            self._crashes = 0
        self._crashes += 1
        if self._failed_starts >= self.limits.failed_starts:
            why = f"never came up in {self._failed_starts} starts; the last: {reason}"
            return [*self._move(State.FATAL, now, why), Listen(False)]
        delay_s = self.backoff.delay_s(self._crashes, self.random)
        return self._move(State.BACKOFF, now, reason, now + delay_s)

    def _probed(self, event: Probed, now: float) -> list[Action]:
        if self.pid is None or self.state in {State.PAUSED, State.STOPPING}:
            return []
        if self.state is State.DRAINING:
            return self._leave(now) if event.empty and (event.ok or event.degraded) else []
        if event.ok:
            return self._healthy(now)
        if event.degraded:
            return self._degraded(event, now)
        self.reason = event.reason if self.state is State.STARTING else self.reason
        self._failed_probes += 1
        if self.state is State.READY and self._failed_probes >= self.limits.failed_probes:
            return self._move(State.UNHEALTHY, now, event.reason)
        return []

    def _healthy(self, now: float) -> list[Action]:
        self._came_up(now)
        again = self._draining
        moved = self._move(State.READY, now)
        return moved if again is None else [*moved, *self._drain(again, now)]

    def _degraded(self, event: Probed, now: float) -> list[Action]:
        """It came up and says itself what it cannot do; starting it again would not help."""
        self._came_up(now)
        return self._move(State.UNHEALTHY, now, event.reason)

    def _came_up(self, now: float) -> None:
        self._failed_probes = 0
        if self.state is State.STARTING:
            self._ready_at, self._failed_starts = now, 0

    def _leave(self, now: float) -> list[Action]:
        return self._stop(self._leaving or Stop(), now)

    # -- time ----------------------------------------------------------------------------------------------------------
    def _tick(self, _: Tick, now: float) -> list[Action]:
        if self.deadline is None or now < self.deadline:
            return []
        self.deadline = None
        if self.state is State.BACKOFF:
            self.restarts += 1
            return self._spawn(now, self.reason)
        if self.state is State.DRAINING:
            drops = self._draining is not None and self._draining.drop
            return [*([Drop("drain-timeout")] if drops else []), *self._leave(now)]
        if self.state in {State.STARTING, State.STOPPING} and self.pid is not None:
            self._killing = True
            return [Signal(signal.SIGKILL)]
        return []


@dataclass(slots=True)
class Watched(Life):
    """The life of somebody else's service: never started or signalled by us, READY while the balancer hears it."""

    def handle(self, event: Event, now: float) -> list[Action]:
        """As `Life.handle`; only probes and wishes to come and go move it."""
        match event:
            case Start() if self.state is State.STOPPED:
                return self._move(State.STARTING, now)
            case Stop() | Drain():
                return self._move(State.STOPPED, now)
            case Probed(ok, reason) if self.state is not State.STOPPED:
                return self._move(State.READY if ok else State.UNHEALTHY, now, reason)
        return []


_RULES: dict[type, Callable[[Life, Any, float], list[Action]]] = {
    Start: Life._start,
    Stop: Life._stop,
    Drain: Life._drain,
    Kill: Life._kill,
    Pause: Life._pause,
    Unpause: Life._unpause,
    Spawned: Life._spawned,
    SpawnFailed: Life._spawn_failed,
    Exited: Life._exited,
    Probed: Life._probed,
    Tick: Life._tick,
}
