"""The JSON of `gridctl top --json`: an interface, so its keys change only with a line in the changelog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gridctl.top.layout import substations_of

GRID_KEYS = (
    "load_pct",
    "health",
    "sessions",
    "max_sessions",
    "load_kw",
    "capacity_kw",
    "requests_per_s",
    "rejected_total",
    "failed_total",
)
SUBSTATION_KEYS = ("name", "state", "sessions", "max_sessions", "load_kw", "capacity_kw", "load_pct")


def document(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """`grid` and `substations` of a snapshot; a number that is not known is null. `uptime_s` is wall seconds."""
    grid = _mapping(snapshot.get("grid"))
    uptime_s = _mapping(snapshot.get("cluster")).get("uptime_s")
    return {
        "grid": {**{key: grid.get(key) for key in GRID_KEYS}, "uptime_s": uptime_s},
        "substations": [{key: s.get(key) for key in SUBSTATION_KEYS} for s in substations_of(snapshot)],
    }


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
