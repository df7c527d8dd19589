"""A snapshot's processes as `ps` shows them; must not know how a snapshot is had."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gridctl.console import Cell, Column
from gridctl.figures import UNKNOWN, count, duration, percent, size

#: The keys of an entry of `ps --json`, in their order: an interface.
KEYS = (
    "name",
    "role",
    "state",
    "pid",
    "host",
    "port",
    "url",
    "own_url",
    "restarts",
    "uptime_s",
    "cpu_pct",
    "rss_bytes",
    "reason",
)

COLUMNS = (
    Column("NAME"),
    Column("ROLE", drop=6),
    Column("STATE"),
    Column("PID", "right", drop=3),
    Column("ENDPOINT", drop=1),
    Column("RESTARTS", "right", drop=5),
    Column("UPTIME", "right", drop=2),
    Column("CPU", "right", drop=4),
    Column("MEM", "right", drop=4),
)

#: The rich style of each state.
STYLES = {
    "STARTING": "cyan",
    "READY": "green",
    "UNHEALTHY": "yellow",
    "PAUSED": "magenta",
    "DRAINING": "cyan",
    "BACKOFF": "yellow",
    "STOPPING": "cyan",
    "STOPPED": "bright_black",
    "FATAL": "bold red",
}

#: The states whose reason a user wants to see unasked.
TROUBLED = ("UNHEALTHY", "BACKOFF", "FATAL")


def listed(process: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of `ps --json`: all of `KEYS`, null where the snapshot knows nothing."""
    return {key: process.get(key) for key in KEYS}


def state_cell(state: object) -> Cell:
    """A state in its style."""
    return Cell(str(state), STYLES.get(str(state), ""))


def cells(process: Mapping[str, Any]) -> list[Cell]:
    """One row of `COLUMNS`."""
    return [
        Cell(str(process["name"]), "bold"),
        Cell(str(process["role"])),
        state_cell(process["state"]),
        Cell(count(process.get("pid"))),
        Cell(_endpoint(process)),
        Cell(count(process.get("restarts"))),
        Cell(duration(process.get("uptime_s"))),
        Cell(percent(process.get("cpu_pct"))),
        Cell(size(process.get("rss_bytes"))),
    ]


def troubles(processes: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each process that is down against its will, and why."""
    return [
        f"{process['name']} {process['state']}: {process['reason']}"
        for process in processes
        if process["state"] in TROUBLED and process.get("reason")
    ]


def _endpoint(process: Mapping[str, Any]) -> str:
    if process.get("host") and process.get("port"):
        return f"{process['host']}:{process['port']}"
    return str(process.get("url") or UNKNOWN)
