"""Figures as people read them; must not know where they come from. None, an unknown one, is a dash."""

from __future__ import annotations

UNKNOWN = "-"
_KIB = 1024


def duration(seconds: float | None) -> str:
    """Wall or grid seconds in at most two units: `42s`, `3m07s`, `2h05m`, `12d03h`."""
    if seconds is None:
        return UNKNOWN
    minutes, rest_s = divmod(int(max(0.0, seconds)), 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return f"{days}d{hours_left:02}h"
    if hours:
        return f"{hours}h{minutes_left:02}m"
    return f"{minutes}m{rest_s:02}s" if minutes else f"{rest_s}s"


def size(count: float | None) -> str:
    """Bytes in binary units with one decimal: `6.1M`."""
    if count is None:
        return UNKNOWN
    value = float(count)
    for unit in ("B", "K", "M", "G"):
        if value < _KIB:
            return f"{value:.0f}B" if unit == "B" else f"{value:.1f}{unit}"
        value /= _KIB
    return f"{value:.1f}T"


def percent(value: float | None) -> str:
    """A percentage (0…100 and above) with one decimal: `4.2%`."""
    return UNKNOWN if value is None else f"{value:.1f}%"


def count(value: int | None) -> str:
    """A whole number, such as a PID."""
    return UNKNOWN if value is None else str(value)
