"""The one figure of a Prometheus text page that an external substation is read from; must not know HTTP or the ledger."""

from __future__ import annotations

import math
import re

#: A count of sessions above this is a lie: substations have at most 10⁹ (config.fields.Sessions).
MOST_SESSIONS = 10**9


class Unreadable(ValueError):
    """The page has no usable figure; the message says why."""


def read_gauge(page: str, metric: str) -> int:
    """The sum of `metric` over its label sets, in sessions, rounded up (Prometheus text format 0.0.4 and OpenMetrics).

    Raises Unreadable where the metric is missing, is not a number, is negative or beyond 10⁹.
    """
    values = [float_of(match.group(1)) for match in _pattern(metric).finditer(page)]
    if not values:
        raise Unreadable(f"no metric {metric}")
    total = sum(values)
    if not 0 <= total <= MOST_SESSIONS:
        raise Unreadable(f"{metric} is {', '.join(str(value) for value in values[:3])}; expected 0 to {MOST_SESSIONS}")
    return math.ceil(total)


def float_of(text: str) -> float:
    """`text` as a number; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _pattern(metric: str) -> re.Pattern[str]:
    """A sample of `metric`, its labels skipped: their quoted values may hold braces and escaped quotes."""
    labels = r'(?:\{(?:[^"{}]|"(?:[^"\\\n]|\\.)*")*\})?'
    return re.compile(rf"^[ \t]*{re.escape(metric)}{labels}[ \t]+(\S+)", re.MULTILINE)
