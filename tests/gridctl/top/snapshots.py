"""Synthetic snapshots of the control API: lively ones that look real, and Hypothesis's strange ones."""

from __future__ import annotations

import math
import random
from typing import Any

from hypothesis import strategies as st

STATES = ("STARTING", "READY", "UNHEALTHY", "PAUSED", "DRAINING", "BACKOFF", "STOPPING", "STOPPED", "FATAL")


def lively(count: int, tick: int = 0) -> dict[str, Any]:
    """A cluster of `count` substations of 10 sessions at time `tick` (half seconds); most figures change with it."""
    rng = random.Random(tick)
    substations = [substation(f"substation{n + 1}", rng, (tick + 9 * n) / 9) for n in range(count)]
    sessions = sum(s["sessions"] for s in substations)
    return {
        "cluster": {
            "name": "grid",
            "state": "READY",
            "supervisor_pid": 1,
            "uptime_s": 192 + tick / 2,
            "time_scale": 10,
        },
        "grid": {
            "sessions": sessions,
            "max_sessions": 10 * count,
            "load_kw": sessions * 7.4,
            "capacity_kw": 74.0 * count,
            "load_pct": 10 * sessions / count if count else None,
            "health": "ok",
            "requests_per_s": 12.3 + rng.random(),
            "accepted_total": 1234 + tick,
            "rejected_total": 3,
            "failed_total": 0,
        },
        "processes": [
            {"name": name, "role": name, "state": "READY", "restarts": 0, "cpu_pct": 3.2, "rss_bytes": 40 << 20}
            for name in ("charge-request", "balancer")
        ],
        "substations": substations,
    }


def substation(name: str, rng: random.Random, phase: float) -> dict[str, Any]:
    history = [max(0.0, min(100.0, 50 + 40 * math.sin(k / 9 + phase) + rng.uniform(-8, 8))) for k in range(90)]
    sessions = round(history[-1] / 10)
    return {
        "name": name,
        "state": "READY",
        "external": False,
        "sessions": sessions,
        "max_sessions": 10,
        "load_kw": sessions * 7.4,
        "capacity_kw": 74.0,
        "load_pct": sessions * 10.0,
        "arrivals_per_s": rng.random() * 2,
        "refused_total": 0,
        "history": history,
        "cpu_pct": rng.random() * 4,
        "rss_bytes": int((11 + rng.random()) * 2**20),
        "restarts": 0,
    }


numbers = st.one_of(
    st.none(),
    st.integers(0, 20),
    st.integers(-(10**30), 10**30),
    st.sampled_from([5e-324, 1.7e308, -1.7e308, 10**400]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.just("no number"),
)
states = st.one_of(st.sampled_from(STATES), st.none(), st.text(max_size=20))
names = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", fullmatch=True),
    st.integers(1, 2000).map("substation{}".format),
    st.text(min_size=1, max_size=8),
)
_FIGURES = (
    "sessions",
    "max_sessions",
    "load_kw",
    "capacity_kw",
    "load_pct",
    "arrivals_per_s",
    "cpu_pct",
    "rss_bytes",
    "restarts",
)
_GRID_FIGURES = (
    "sessions",
    "max_sessions",
    "load_kw",
    "capacity_kw",
    "load_pct",
    "requests_per_s",
    "accepted_total",
    "rejected_total",
    "failed_total",
)


def _of(keys: tuple[str, ...]) -> dict[str, st.SearchStrategy[Any]]:
    return dict.fromkeys(keys, numbers)


_substations = st.fixed_dictionaries(
    {"name": names, "state": states}, optional={**_of(_FIGURES), "history": st.none() | st.lists(numbers, max_size=100)}
)
_processes = st.fixed_dictionaries(
    {"name": names, "role": st.sampled_from(["charge-request", "balancer", "substation"])},
    optional={"state": states, **_of(("restarts", "cpu_pct", "rss_bytes"))},
)
_clusters = st.fixed_dictionaries({}, optional={"name": names, "state": states, **_of(("uptime_s", "time_scale"))})
_grids = st.fixed_dictionaries({}, optional={"health": states, **_of(_GRID_FIGURES)})

#: Anything that could come: missing keys, nulls, numbers of every size, more substations than fit.
strange = st.fixed_dictionaries(
    {},
    optional={
        "cluster": _clusters | st.none(),
        "grid": _grids | st.none(),
        "processes": st.lists(_processes, max_size=4) | st.none(),
        "substations": st.lists(_substations, max_size=40, unique_by=lambda s: s["name"]) | st.none(),
    },
)
