"""`--since`: an instant, as people give it."""

from __future__ import annotations

import re
from datetime import datetime

from config.errors import Fault, Invalid

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_TERM = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
ALLOWED = "a span before now (90s, 5m, 1h30m, 2d), an ISO time (2026-11-21T10:00, local unless it says) or Unix seconds"


def instant(text: str, now_s: float) -> float:
    """`text` as Unix seconds: a span of wall time before `now_s`, an ISO time, or Unix seconds; Invalid if none."""
    if re.fullmatch(f"(?:{_TERM.pattern})+", text, re.ASCII):
        return now_s - sum(float(number) * _SECONDS[unit] for number, unit in _TERM.findall(text))
    if re.fullmatch(r"\d{9,}(?:\.\d+)?", text, re.ASCII):
        return float(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        fault = Fault("--since", 0, "(time)", repr(text), ALLOWED)
        raise Invalid(str(fault), "", (fault,)) from None
