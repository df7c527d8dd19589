"""One supervised service: its specification, life, socket, lifeline and newest health. Must not know the other members."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from config.names import BALANCER, CHARGE_REQUEST, EXTERNAL, SUBSTATION, WATCHERS
from config.plan import ProcessSpec
from gridctl.identity import identify
from gridctl.supervisor.happenings import State
from gridctl.supervisor.lifecycle import Life
from gridctl.supervisor.rates import Meter, Series
from gridctl.supervisor.sockets import HeldSocket
from gridctl.supervisor.targets import Target

Successor = tuple[ProcessSpec, HeldSocket | None]


@dataclass(slots=True)
class Member:
    """What the supervisor knows of one process. `held` is None for an external service, which is only watched.

    It becomes its `successor` at its next start; its `heir`, another kind of service of that name, comes once it has left.
    """

    spec: ProcessSpec
    life: Life
    held: HeldSocket | None = None
    lifeline: socket.socket | None = None
    pidfd: int | None = None
    spawned_at: float | None = None
    identity: str | None = None
    leaving: bool = False
    refusing: bool = False
    successor: Successor | None = None
    heir: Successor | None = None
    health: dict[str, Any] = field(default_factory=dict)
    arrivals: Meter = field(default_factory=Meter)
    refusals: Meter = field(default_factory=Meter)
    answers: dict[int, Meter] = field(default_factory=dict)
    loads: Series = field(default_factory=Series)
    stirred: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """The process's name, unique in its cluster."""
        return self.spec.name

    @property
    def state(self) -> State:
        """Its state; an external service is READY or UNHEALTHY as the balancer hears it."""
        return self.life.state

    @property
    def external(self) -> bool:
        """Whether it is somebody else's service."""
        return self.spec.role == EXTERNAL

    @property
    def degraded(self) -> bool:
        """Whether it is up and said that it cannot do its work."""
        return self.state is State.UNHEALTHY and self.health.get("status") == "degraded"

    @property
    def is_substation(self) -> bool:
        """Whether EVs charge there, ours or external."""
        return self.spec.role in {SUBSTATION, EXTERNAL}

    @property
    def is_watcher(self) -> bool:
        """Whether it is a program of others that watches the grid, and no service of it."""
        return self.spec.role in WATCHERS

    @property
    def url(self) -> str:
        """Where it answers."""
        if self.held is None:
            return self.spec.url or ""
        return f"http://{self.held.host}:{self.held.port}"

    @property
    def own_url(self) -> str:
        """Where it answers and none of the workers beside it."""
        own = self.held.beside if self.held is not None else None
        return self.url if own is None else f"http://{own.host}:{own.port}"

    @property
    def next_held(self) -> HeldSocket | None:
        """The socket of its next start."""
        waiting = self.successor[1] if self.successor else None
        return waiting if waiting is not None else self.held

    @property
    def next_url(self) -> str:
        """Where it answers after its next start."""
        held = self.next_held
        return self.url if held is None else f"http://{held.host}:{held.port}"

    @property
    def coming(self) -> ProcessSpec | None:
        """What should run under this name; None when it leaves and nobody follows."""
        if self.heir is not None:
            return self.heir[0]
        if self.leaving:
            return None
        return self.successor[0] if self.successor is not None else self.spec

    def born(self, pid: int, now: float) -> None:
        """Note its new process; its identity and a pidfd tell it from any later one with that PID."""
        self.spawned_at = now
        with contextlib.suppress(OSError, AttributeError):  # it may be gone already; macOS has no pidfd
            self.pidfd = os.pidfd_open(pid)
        self.identity = identify(pid)

    def count_anew(self) -> None:
        """Its next process counts from zero; totals go on."""
        for meter in (self.arrivals, self.refusals, *self.answers.values()):
            meter.restarted()

    def inherit(self, other: Member) -> None:
        """Take over what a worker answered that leaves, so that the grid's totals go on."""
        self.arrivals.inherit(other.arrivals)
        for status, meter in other.answers.items():
            self.answers.setdefault(status, Meter()).inherit(meter)

    def died(self) -> None:
        """Forget the process that ended."""
        if self.pidfd is not None:
            os.close(self.pidfd)
        self.pidfd = self.spawned_at = self.identity = None
        self.health = {}
        self.hang_up()

    def hang_up(self) -> None:
        """Close the lifeline: a service at its other end ends itself."""
        if self.lifeline is not None:
            self.lifeline.close()
            self.lifeline = None

    def signal(self, number: int) -> None:
        """Send a signal to its process, never to another one that got its PID."""
        with contextlib.suppress(ProcessLookupError):
            if self.pidfd is not None:
                signal.pidfd_send_signal(self.pidfd, number)
            elif self.life.pid is not None:
                os.kill(self.life.pid, number)

    def tell(self, command: dict[str, Any]) -> None:
        """Send a command over the lifeline; a service that is gone or stuck does not hear it."""
        if self.lifeline is not None:
            with contextlib.suppress(OSError):
                self.lifeline.send(json.dumps(command).encode() + b"\n")

    def succeed_by(self, spec: ProcessSpec, held: HeldSocket | None) -> None:
        """At its next start it becomes `spec`, on the socket `held` (None: on one that it has)."""
        waiting = self.successor[1] if self.successor else None
        if held is None and waiting is not None and waiting.port == spec.port:
            held = waiting
        elif waiting is not None:
            waiting.close()
        self.successor = (spec, held)

    def leave(self, on: bool, heir: Successor | None = None) -> None:
        """It goes for good once it is down, and `heir` takes its place; or (not `on`) it does not."""
        if self.heir is not None and self.heir[1] is not None:
            self.heir[1].close()
        self.leaving, self.heir = on, heir

    def has_port(self, port: int) -> bool:
        """Whether it holds `port` already, now or for its next start."""
        sockets = (self.held, self.successor[1] if self.successor else None)
        return any(held is not None and held.port == port for held in sockets)

    def succeed(self) -> bool:
        """Take over the specification, and the socket, that wait for the next start; whether any did."""
        if self.successor is None:
            return False
        spec, held = self.successor
        self.successor = None
        self.spec = spec
        if held is not None:
            if self.held is not None:
                held.follow(self.held)
            self.held = held
        return True

    def target(self) -> Target:
        """How the balancer and Prometheus find it."""
        spec = self.spec
        own = self.held if self.held is None or self.held.beside is None else self.held.beside
        host, port = (own.host, own.port) if own is not None else (spec.host, spec.port)
        worker = None if spec.worker is None else spec.name
        limits = (spec.max_sessions, spec.capacity_kw) if self.external else (None, None)
        draining = self.refusing or self.leaving
        return Target(spec.name, spec.role, host, port, draining, spec.url, spec.load_metric, *limits, worker)

    def close(self) -> None:
        """Give back everything it holds."""
        self.died()
        for held in (self.held, *(pair[1] for pair in (self.successor, self.heir) if pair)):
            if held is not None:
                held.close()


def ordered_for_stop(members: Iterable[Member]) -> list[list[Member]]:
    """Who stops with whom, in order: whoever asks goes before whoever answers, so that what is under way gets its answer.

    Who watches goes last, and sees the end.
    """
    everyone = list(members)
    order = ({CHARGE_REQUEST}, {BALANCER}, {SUBSTATION}, WATCHERS)
    groups = [[member for member in everyone if member.spec.role in roles] for roles in order]
    return [group for group in groups if group]
