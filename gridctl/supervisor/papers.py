"""Two files of a cluster: its targets, for balancer and Prometheus, and its roster, for a later start. Must not know why.

Each change of a crowd does not write a file of a thousand entries: what changes within a moment is written once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gridctl.state import ClusterPaths
from gridctl.supervisor.member import Member
from gridctl.supervisor.targets import render, write_atomically

log = logging.getLogger("gridctl.supervisor")

#: The roster is written once for all changes within this, and a file of many no more often than its length allows: so
#: long a member (wall seconds).
ROSTER_S = 0.1
EACH_S = 0.0002
#: Up to so many members the targets are written at each change.
FEW = 64


@dataclass(slots=True)
class Papers:
    """Writes the files at `paths` of `members`, as they are then. Use from the event loop's thread only."""

    paths: ClusterPaths
    members: Mapping[str, Member]
    _due: dict[Callable[[], None], asyncio.TimerHandle] = field(default_factory=dict)

    def targets(self) -> None:
        """Where services are found changed."""
        if len(self.members) <= FEW:
            self._write_targets()
        else:
            self._soon(self._write_targets, 0.0)

    def roster(self) -> None:
        """Processes came or went."""
        self._soon(self._write_roster, ROSTER_S)

    def _soon(self, write: Callable[[], None], least_s: float) -> None:
        if write in self._due:
            return

        def now() -> None:
            del self._due[write]
            write()

        self._due[write] = asyncio.get_running_loop().call_later(max(least_s, len(self.members) * EACH_S), now)

    def _write_targets(self) -> None:
        found = [
            member for member in self.members.values() if (member.held or member.external) and not member.is_watcher
        ]
        _write(self.paths.targets, render(self.paths.name, [member.target() for member in found]))

    def _write_roster(self) -> None:
        alive = [(m.name, m.life.pid, m.identity) for m in self.members.values() if m.life.pid and m.identity]
        _write(self.paths.roster, [{"name": n, "pid": pid, "identity": who} for n, pid, who in alive])

    def close(self) -> None:
        """Write nothing more."""
        for due in self._due.values():
            due.cancel()
        self._due.clear()


def _write(path: Path, document: object) -> None:
    """A disk that is full is logged, and the old file stays."""
    try:
        write_atomically(path, document)
    except OSError as error:
        log.warning("cannot write %s: %s", path, error)
