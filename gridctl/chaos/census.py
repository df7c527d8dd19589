"""Who belongs to one cluster, verified: PID and start time. Signals reach these and nobody else. Must not know faults."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psutil

from config.errors import GridError
from config.names import CHARGE_REQUEST, SERVICES
from gridctl.chaos.timeline import SUPERVISOR, ZYGOTE, Target
from gridctl.control import Control
from gridctl.identity import identify
from gridctl.state import ClusterPaths

READY = "READY"
#: States from which a process does not come back by itself.
DOWN = frozenset({"STOPPED", "FATAL"})


class Person(NamedTuple):
    """A process: its PID, and what tells it from any other that ever has that PID."""

    pid: int
    identity: str


def send(person: Person, number: int) -> bool:
    """Send a signal to `person`; False where that process is gone, whoever has its PID now."""
    try:
        descriptor = os.pidfd_open(person.pid)
    except (OSError, AttributeError):  # gone; or macOS, which has no pidfd
        return _send_by_pid(person, number)
    try:
        # what the descriptor means is fixed by now: if this PID has that identity still, it is the one
        if identify(person.pid) != person.identity:
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def _send_by_pid(person: Person, number: int) -> bool:
    if hasattr(os, "pidfd_open") or identify(person.pid) != person.identity:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(person.pid, number)
        return True
    return False


@dataclass(slots=True)
class Census:
    """The processes of the cluster behind `control`, as its supervisor told them last.

    While the supervisor does not answer, what it told before holds; every signal is verified all the same.
    """

    control: Control
    paths: ClusterPaths
    states: dict[str, str] = field(default_factory=dict)
    snapshot: Mapping[str, Any] = field(default_factory=dict)
    _people: dict[str, Person] = field(default_factory=dict)

    def look(self) -> Mapping[str, Any]:
        """Ask the supervisor anew; its snapshot. Blocks. GridError when it does not answer."""
        snapshot = self.control.snapshot()
        self.snapshot = snapshot
        own = [entry for entry in snapshot["processes"] if entry["role"] in SERVICES]
        self.states = {entry["name"]: entry["state"] for entry in own}
        people = {entry["name"]: (entry["pid"], entry.get("identity")) for entry in own}
        people |= self._launchers(snapshot["cluster"])
        self._people = {name: Person(pid, identity) for name, (pid, identity) in people.items() if pid and identity}
        return snapshot

    def _launchers(self, cluster: Mapping[str, Any]) -> dict[str, tuple[int | None, str | None]]:
        """The supervisor, which has just answered, and its child the zygote."""
        supervisor, zygote = cluster["supervisor_pid"], cluster.get("zygote_pid")
        found = {SUPERVISOR: (supervisor, identify(supervisor))}
        if zygote is not None and _parent(zygote) == supervisor:
            found[ZYGOTE] = (zygote, identify(zygote))
        return found

    def targets(self) -> tuple[Target, ...]:
        """All that may be met, by the newest snapshot: our own services that are not down for good, zygote, supervisor."""
        own = [entry for entry in self.snapshot.get("processes", ()) if entry["role"] in SERVICES]
        services = [Target(entry["name"], entry["role"]) for entry in own if entry["state"] not in DOWN]
        return (*services, Target(ZYGOTE, ZYGOTE), Target(SUPERVISOR, SUPERVISOR))

    def front(self) -> tuple[Person, ...]:
        """Who takes the clients' requests, as far as they live. Blocks for an instant; asks nobody."""
        entries = self.snapshot.get("processes", ())
        found = (self._alive(entry["name"]) for entry in entries if entry["role"] == CHARGE_REQUEST)
        return tuple(person for person in found if person is not None)

    def find(self, name: str) -> Person | None:
        """The process `name` as it is now; None where none of that name lives. Blocks.

        The supervisor is asked only where the one that was known is gone, so a frozen one holds nothing up.
        """
        person = self._alive(name)
        if person is not None:
            return person
        with contextlib.suppress(GridError):
            self.look()
        return self._alive(name)

    def _alive(self, name: str) -> Person | None:
        for person in (self._people.get(name), self._noted(name)):
            if person is not None and identify(person.pid) == person.identity:
                return person
        return None

    def _noted(self, name: str) -> Person | None:
        """What the cluster's own files say of a process that no snapshot knew."""
        try:
            entries = json.loads(self.paths.roster.read_text())
            noted = {entry["name"]: Person(int(entry["pid"]), str(entry["identity"])) for entry in entries}
        except (OSError, ValueError, TypeError, KeyError):
            noted = {}
        return noted.get(name)


def _parent(pid: int) -> int | None:
    try:
        return int(psutil.Process(pid).ppid())
    except psutil.Error:
        return None
