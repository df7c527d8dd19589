"""Rates and short histories of what services count; must not know where the numbers come from."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

#: Arrivals per second are taken over this many wall seconds: long enough to read, short enough to follow a ramp.
WINDOW_S = 10.0
#: The history that sparklines show: one value each two seconds, three minutes.
STEP_S = 2.0
STEPS = 90


@dataclass(slots=True)
class Meter:
    """A counter that a service may restart from zero; gives its total over all lives and its rate."""

    total: float = 0.0
    _last: float = 0.0
    _points: deque[tuple[float, float]] = field(default_factory=deque)

    def read(self, value: float, now: float) -> None:
        """Note that the counter stands at `value` at monotonic time `now`."""
        self.total += value - self._last if value >= self._last else value
        self._last = value
        self._points.append((now, self.total))
        while len(self._points) > 2 and self._points[1][0] <= now - WINDOW_S:
            self._points.popleft()

    def restarted(self) -> None:
        """The service starts to count from zero again."""
        self._last = 0.0

    def inherit(self, other: Meter) -> None:
        """Go on with the total of one that counted the same and is gone; its increase is no news of now."""
        self.total += other.total
        self._points = deque((when, total + other.total) for when, total in self._points)

    def per_s(self, now: float) -> float:
        """Increase per wall second over the last ten seconds; 0 before the second reading."""
        if len(self._points) < 2:
            return 0.0
        (first, low), (_, high) = self._points[0], self._points[-1]
        span = max(now - first, 1e-9)
        return (high - low) / span


@dataclass(slots=True)
class Series:
    """The last values of something, one each `STEP_S` wall seconds."""

    values: deque[float] = field(default_factory=lambda: deque(maxlen=STEPS))
    _next: float = 0.0

    def note(self, value: float, now: float) -> None:
        """Keep `value` if a step has passed since the last one kept."""
        if now >= self._next:
            self.values.append(value)
            self._next = max(self._next + STEP_S, now + STEP_S / 2)
