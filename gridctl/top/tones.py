"""What is said by colour, and by a mark where there is none; must not know which colours a terminal has."""

from __future__ import annotations

PLAIN = ""
TITLE = "title"
FAINT = "faint"
TRACE = "trace"
GOOD = "good"
BUSY = "busy"
FULL = "full"
BAD = "bad"
INFO = "info"
HELD = "held"

#: The states of a process (DESIGN §2), the most notable first.
NOTABLE = ("FATAL", "UNHEALTHY", "BACKOFF", "STOPPED", "PAUSED", "DRAINING", "STOPPING", "STARTING")

_STATES = {
    "READY": GOOD,
    "STARTING": INFO,
    "UNHEALTHY": BUSY,
    "PAUSED": HELD,
    "DRAINING": INFO,
    "BACKOFF": BUSY,
    "STOPPING": FAINT,
    "STOPPED": FAINT,
    "FATAL": BAD,
}

_HEALTH = {"ok": GOOD, "strained": BUSY, "overloaded": BAD}


def of_state(state: str) -> str:
    """The tone of a process's or cluster's state."""
    return _STATES.get(state, PLAIN)


def of_health(health: str) -> str:
    """The tone of the grid's health: ok, strained or overloaded."""
    return _HEALTH.get(health, PLAIN)


def of_load(load_pct: float | None) -> str:
    """The tone of a load in per cent: calm below 75, full at 100, bad only above."""
    if load_pct is None:
        return FAINT
    if load_pct > 100.5:
        return BAD
    if load_pct >= 99.5:
        return FULL
    return BUSY if load_pct >= 75 else GOOD


def of_count(value: float | None, otherwise: str) -> str:
    """`otherwise` for a number that is above zero, faint for none and unknown."""
    return otherwise if value else FAINT


def notability(state: str) -> int:
    """The rank of a state, 0 the most notable; READY comes last, an unknown state just before it."""
    if state == "READY":
        return len(NOTABLE) + 1
    return NOTABLE.index(state) if state in NOTABLE else len(NOTABLE)
