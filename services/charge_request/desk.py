"""The requests that are held, and how those before them were answered. Must not know what is done with them."""

from __future__ import annotations

from typing import Final

from monitoring.metrics import FAILURES, REFUSED, ChargeRequestMetrics
from monitoring.quick import Tally
from services.deadline import usable_s

#: More HTTP requests than this are not held at a time.
MOST_IN_FLIGHT: Final = 10_000
#: Where so many are held, and the oldest has waited for half of its time, new ones are refused at once: they would be
#: answered too late, as would those after them, and nobody in the end.
CROWD: Final = 64


class Desk:
    """All requests of one service, each of which has `timeout_s` (wall seconds)."""

    def __init__(self, metrics: ChargeRequestMetrics, timeout_s: float) -> None:
        self.metrics = metrics
        self.durations = metrics.request_duration_s
        #: What each may use of its time (wall seconds).
        self.usable_s = usable_s(timeout_s)
        self._patience_s = timeout_s / 2
        self._held_since_s: dict[int, float] = {}
        self._number = 0
        self._told: dict[int, Tally] = {}

    @property
    def statuses(self) -> dict[str, int]:
        """How many were answered, by status."""
        return {str(status): int(told.total) for status, told in self._told.items()}

    def is_crowded(self, now_s: float) -> bool:
        """Whether another one is to be refused at once."""
        held = self._held_since_s
        if len(held) < CROWD:
            return False
        return len(held) >= MOST_IN_FLIGHT or now_s - next(iter(held.values())) > self._patience_s

    def hold(self, now_s: float) -> int:
        """One more is held from `now_s` (wall seconds, monotonic) until `release`, which is told this number."""
        self._number += 1
        self._held_since_s[self._number] = now_s
        return self._number

    def release(self, number: int) -> None:
        """It is not held any more."""
        self._held_since_s.pop(number, None)

    def count(self, status: int, reason: str = "") -> None:
        """One request, or element of an array, was answered."""
        told = self._told.get(status)
        if told is None:
            told = self._told[status] = self.metrics.requests.labels(str(status))
        told.inc()
        if status >= 500 and reason not in REFUSED:
            self.metrics.failures.labels(_failure(reason)).inc()


def _failure(reason: str) -> str:
    """What `charge_request_failures_total` counts it as."""
    return next((word for word in FAILURES if reason == word or reason.startswith(f"{word}-")), "other")
