"""Reads what a supervisor and balancers wrote in passing: events.jsonl and logs. Must not judge it.

Lines that cannot be read (cut off by a crash, written by somebody else) are passed over.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from config.names import BALANCER
from gridctl.audit.presence import Change
from gridctl.audit.verdict import Refused
from gridctl.logs import files, lines

#: What balancers say in their logs.
_REFUSED = "refused"
_FAILED = "attempt failed"
_UNHEARD = "not heard"
#: Results of an attempt that say the substation could not be reached, or was not admitting.
_UNUSABLE = frozenset({"closed", "unreachable", "unknown"})


@dataclass(slots=True)
class Trail:
    """What balancers logged: refusals, and by substation the instants (Unix) at which they got nothing of use from it."""

    refused: list[Refused] = field(default_factory=list)
    failed_tries: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def changes(path: Path) -> list[Change]:
    """Every event of `events.jsonl` at `path`, in its order; none where there is no such file."""
    found = []
    with suppress(OSError), path.open("rb") as stream:
        for raw in stream:
            record = _object(raw)
            change = None if record is None else _change(record)
            if change is not None:
                found.append(change)
    return found


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _change(record: dict[str, Any]) -> Change | None:
    try:
        at_s = datetime.fromisoformat(record["ts"]).timestamp()
        if record["event"] != "state":
            return Change(at_s, int(record["seq"]))
        words = (str(record[key]) for key in ("name", "to", "role"))
        return Change(at_s, int(record["seq"]), *words)
    except (KeyError, ValueError, TypeError):
        return None


def balancers(logs: Path, since_s: float = 0.0) -> Trail:
    """What all balancers with logs in the folder `logs` wrote at `since_s` (Unix seconds) or later."""
    trail = Trail()
    for name in files.names_in(logs):
        if name.rstrip("0123456789") == BALANCER:
            for at_s, record in _records(logs, name, since_s):
                _note(trail, at_s, record)
    for instants in trail.failed_tries.values():
        instants.sort()
    return trail


def _records(logs: Path, name: str, since_s: float) -> Iterator[tuple[float, dict[str, Any]]]:
    parts = files.open_parts(logs, name)
    try:
        if not parts:
            return
        start = files.since(parts, since_s)
        for index in range(start.part, len(parts)):
            for _, raw in files.forward(parts[index], start.offset if index == start.part else 0):
                parsed = lines.parse(raw)
                if parsed is not None:
                    yield parsed
    finally:
        for part in parts:
            part.close()


def _note(trail: Trail, at_s: float, record: dict[str, Any]) -> None:
    with suppress(KeyError, TypeError, ValueError):
        message = record["message"]
        if message == _REFUSED:
            trail.refused.append(_refused(record))
        elif message == _UNHEARD or (message == _FAILED and record["result"] in _UNUSABLE):
            trail.failed_tries[str(record["substation"])].append(at_s)


def _refused(record: dict[str, Any]) -> Refused:
    return Refused(
        request_id=str(record["request_id"]),
        arrived_s=float(record["arrived_s"]),
        refused_s=float(record["refused_s"]),
        power_w=round(float(record["power_kw"]) * 1000),
        reason=str(record["reason"]),
    )
