"""Log files as services write them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: 2026-01-01T00:00:00Z: the lines of these tests count seconds from here.
ZERO_S = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def record(at: float, name: str = "substation1", message: str = "hello", level: str = "info", **extra: Any) -> str:
    """A line as a service writes it, `at` seconds after `ZERO_S`."""
    moment = datetime.fromtimestamp(ZERO_S + at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return json.dumps({"ts": moment, "level": level, "name": name, "role": "substation", "message": message, **extra})


def append(file: Path, *lines: str) -> None:
    """Add whole lines to a log file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        stream.write("".join(f"{line}\n" for line in lines))


def rotate(file: Path) -> None:
    """Rename a log and the older ones of it, as services do."""
    for number in (2, 1):
        older = file.with_name(f"{file.name}.{number}")
        if older.exists():
            older.replace(file.with_name(f"{file.name}.{number + 1}"))
    file.replace(file.with_name(f"{file.name}.1"))
