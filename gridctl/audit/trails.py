"""Reads what a supervisor and balancers wrote in passing: events.jsonl and logs. Must not judge it.

Lines that cannot be read (cut off by a crash, written by somebody else) are passed over.
"""

from __future__ import annotations

import json
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


@dataclass(slots=True)
class Trail:
    """What balancers logged: refusals, and the tries (request, substation) that were answered by nothing of use."""

    refused: list[Refused] = field(default_factory=list)
    failed_tries: set[tuple[str, str]] = field(default_factory=set)


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
        return Change(at_s, int(record["seq"]), str(record["name"]), str(record["to"]))
    except (KeyError, ValueError, TypeError):
        return None


def balancers(logs: Path, since_s: float = 0.0) -> Trail:
    """What all balancers with logs in the folder `logs` wrote at `since_s` (Unix seconds) or later."""
    trail = Trail()
    for name in files.names_in(logs):
        if name.rstrip("0123456789") == BALANCER:
            for record in _records(logs, name, since_s):
                _note(trail, record)
    return trail


def _records(logs: Path, name: str, since_s: float) -> Iterator[dict[str, Any]]:
    parts = files.open_parts(logs, name)
    try:
        if not parts:
            return
        start = files.since(parts, since_s)
        for index in range(start.part, len(parts)):
            for _, raw in files.forward(parts[index], start.offset if index == start.part else 0):
                parsed = lines.parse(raw)
                if parsed is not None:
                    yield parsed[1]
    finally:
        for part in parts:
            part.close()


def _note(trail: Trail, record: dict[str, Any]) -> None:
    with suppress(KeyError, TypeError, ValueError):
        if record["message"] == _REFUSED:
            trail.refused.append(_refused(record))
        elif record["message"] == _FAILED:
            trail.failed_tries.add((str(record["request_id"]), str(record["substation"])))


def _refused(record: dict[str, Any]) -> Refused:
    return Refused(
        request_id=str(record["request_id"]),
        arrived_s=float(record["arrived_s"]),
        refused_s=float(record["refused_s"]),
        power_w=round(float(record["power_kw"]) * 1000),
        reason=str(record["reason"]),
    )
