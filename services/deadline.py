"""How much of a client's patience remains: each hop is told, and keeps a little for its own answer. Wall seconds."""

from __future__ import annotations

from collections.abc import Mapping

#: Says how many milliseconds the sender still waits for the answer.
HEADER = "Grid-Timeout-Ms"
#: What a hop keeps of the time that it was given, so that its answer arrives before its client gives up.
KEPT_SHARE = 0.05
MOST_KEPT_S = 0.25
_LONGEST_S = 3600.0


def time_left_s(headers: Mapping[str, str], default_s: float) -> float:
    """How long the answer to a request with `headers` may take: what its sender grants, else `default_s`, less a little."""
    text = headers.get(HEADER, "")
    granted_s = int(text) / 1000 if text.isascii() and text.isdigit() and len(text) < 10 else default_s
    return usable_s(granted_s)


def usable_s(granted_s: float) -> float:
    """What a hop may use of the time that it was granted: never more than an hour."""
    granted_s = min(granted_s, _LONGEST_S)
    return granted_s - min(MOST_KEPT_S, granted_s * KEPT_SHARE)


def grant(remaining_s: float) -> dict[str, str]:
    """The header that grants `remaining_s` to the next hop."""
    return {HEADER: str(max(1, int(remaining_s * 1000)))}
