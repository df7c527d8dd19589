"""Durations, rates and stages as a user types them; must not know what they are for.

A rate is EVs per second (`0.5`, `30/m`, `2/h`); a duration is `30s`, `5m`, `1h30m`, `250ms`, or a plain number of seconds.
"""

from __future__ import annotations

import math
import re

from gridctl.loadtest.pacing import Stage

DURATION_RULE = "a duration such as 30s, 5m, 1h, 1h30m or 250ms"
RATE_RULE = "a rate above 0 such as 0.5 (EVs a second), 30/m or 1800/h"
STAGES_RULE = "RATE:DURATION or FROM..TO:DURATION, separated by commas, such as 0.5:60s,2:5m,0.5..3:10m"

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_DURATION = re.compile(rf"(?:{_NUMBER}(?:ms|s|m|h|d))+")
_PART = re.compile(rf"({_NUMBER})(ms|s|m|h|d)")
_PLAIN = re.compile(_NUMBER)
_RATE = re.compile(rf"({_NUMBER})(?:/(s|m|h|d))?")


def duration_s(text: str) -> float:
    """Seconds of `text`; ValueError unless it is a finite duration of 0 or more."""
    text = text.strip()
    if _PLAIN.fullmatch(text):
        return _finite(float(text))
    if not _DURATION.fullmatch(text):
        raise ValueError(DURATION_RULE)
    return _finite(sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text)))


def rate_per_s(text: str) -> float:
    """EVs per second of `text`, 0 allowed; ValueError unless it is finite."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise ValueError(RATE_RULE)
    return _finite(float(match[1]) / _SECONDS[match[2] or "s"])


def stages(text: str) -> tuple[Stage, ...]:
    """The stages of `0.5:60s,2:5m,0.5..3:10m` in order; ValueError where one cannot be read or lasts no time."""
    return tuple(_stage(part.strip()) for part in text.split(","))


def _stage(text: str) -> Stage:
    rates, colon, length = text.partition(":")
    if not colon:
        raise ValueError(STAGES_RULE)
    first, ramp, last = rates.partition("..")
    stage = Stage(rate_per_s(first), rate_per_s(last if ramp else first), duration_s(length))
    if stage.duration_s <= 0:
        raise ValueError("stages that last longer than 0 s")
    return stage


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("a finite number")
    return value


def spoken(seconds: float) -> str:
    """`seconds` for a reader: `0.25 s`, `30 s`, `5 min`, `1 h 30 min`."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
