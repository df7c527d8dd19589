"""Numbers as short text, each in a few cells whatever its size; must not know where on the screen they go."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

#: What stands where a number is not known (a process that is down; an external one has no CPU).
UNKNOWN = "-"

_STEPS = ((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"), (1e15, "P"), (1e18, "E"))


def number(source: Mapping[str, Any], key: str) -> float | None:
    """The finite number at `key`; None where it is missing, null, not a number, NaN or infinite."""
    return finite(source.get(key))


def finite(value: object) -> float | None:
    """`value` as a finite float, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if math.isfinite(result) else None


def count(value: float | None) -> str:
    """A count in at most 5 cells (6 with a minus): `0`, `9999`, `12k`, `1.2M`; from 10²¹ on `>1Z`."""
    if value is None:
        return UNKNOWN
    if value < 0:
        return "-" + count(-value)
    if value < 9999.5:
        return str(round(value))
    if value >= 1e21:
        return ">1Z"
    step, sign = next(pair for pair in reversed(_STEPS) if value >= 0.9995 * pair[0])
    scaled = value / step
    return f"{scaled:.1f}{sign}" if scaled < 9.95 else f"{scaled:.0f}{sign}"


def power(kw: float | None) -> str:
    """Power in kW without its unit: `7.4`, `37`, `740`, `12k`; at most 5 cells (6 with a minus)."""
    if kw is None or abs(kw) >= 99.95:
        return count(kw)
    return f"{kw:.1f}".removesuffix(".0")


def rate(per_s: float | None) -> str:
    """A rate per second: `0.25`, `12.5`, `240`; at most 5 cells (6 with a minus)."""
    if per_s is None or abs(per_s) >= 99.95:
        return count(per_s)
    return f"{per_s:.1f}" if abs(per_s) >= 9.995 else f"{per_s:.2f}"


def percent(pct: float | None) -> str:
    """A percentage of 0…100 and more: `0%`, `43%`, `120%`; unknown has no sign."""
    return UNKNOWN if pct is None else f"{count(pct)}%"


def memory(size_bytes: float | None) -> str:
    """Bytes as MiB or GiB, at most 5 cells: `12M`, `1.2G`."""
    if size_bytes is None:
        return UNKNOWN
    mib = size_bytes / 2**20
    if mib < 999.5:
        return f"{mib:.0f}M"
    gib = mib / 1024
    return f"{gib:.1f}G" if gib < 99.95 else f"{count(gib)}G"


def share(used: float | None, limit: float | None, write: Callable[[float | None], str]) -> str:
    """`used/limit`, each as `write` writes it, or `used` alone where no limit is known."""
    return write(used) if limit is None else f"{write(used)}/{write(limit)}"


def duration(seconds: float | None) -> str:
    """A time span in its two largest units: `45s`, `3m 20s`, `2h 05m`, `3d 04h`."""
    if seconds is None:
        return UNKNOWN
    whole = max(0, int(seconds))
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{count(days)}d {h:02}h"
    if hours:
        return f"{h}h {m:02}m"
    return f"{m}m {s:02}s" if minutes else f"{s}s"
