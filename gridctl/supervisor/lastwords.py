"""What is told of services that never came up: why, and the last lines of their logs. Must not know who asks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from config.errors import NotReady
from gridctl.supervisor.cluster import Cluster
from gridctl.supervisor.member import Member

#: Log lines shown of each.
LAST_LINES = 10


def never_came_up(cluster: Cluster, members: Iterable[Member]) -> NotReady:
    """The error that says of each of `members` why it failed, what it logged last, and where."""
    parts = []
    for member in members:
        path = cluster.paths.log_file(member.name)
        parts.append(f"{member.name}: {member.life.reason}\n{last_lines(path)}\n  ({path})")
    return NotReady("\n".join(parts), "mend the cause, then: gridctl start NAME, or gridctl down")


def last_lines(path: Path, count: int = LAST_LINES) -> str:
    """The last lines of a log, indented; a note where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            lines = file.read().decode(errors="replace").splitlines()[-count:]
    except OSError as error:
        return f"  (no log: {error.strerror})"
    return "\n".join(f"  {line}" for line in lines) or "  (the log is empty)"
