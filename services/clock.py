"""The two clocks: wall seconds for HTTP and processes, grid seconds for charging. Must not know who asks."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Time as a service sees it. `time_scale` is grid seconds per wall second."""

    @property
    def time_scale(self) -> float:
        """Grid seconds per wall second."""

    def monotonic_s(self) -> float:
        """Wall seconds since some fixed instant; never goes back."""

    def time_s(self) -> float:
        """Unix time, wall seconds."""

    def grid_s(self) -> float:
        """Grid seconds since this clock was made; never goes back."""

    def unix_s(self, grid_s: float) -> float:
        """The Unix time at which `grid_s()` says (said, will say) `grid_s`."""


class _Scaled:
    """Both clocks from a monotonic one. Unix times are anchored once, so a stepped system clock bends no record."""

    def __init__(self, time_scale: float, monotonic_s: float, time_s: float) -> None:
        if not time_scale > 0:
            raise ValueError(f"time_scale must be above 0, found {time_scale}")
        self._time_scale = time_scale
        self._origin_s = monotonic_s
        self._anchor_s = time_s

    @property
    def time_scale(self) -> float:
        """Grid seconds per wall second."""
        return self._time_scale

    def monotonic_s(self) -> float:
        """Wall seconds since some fixed instant; never goes back."""
        raise NotImplementedError

    def time_s(self) -> float:
        """Unix time, wall seconds."""
        return self._anchor_s + self.monotonic_s() - self._origin_s

    def grid_s(self) -> float:
        """Grid seconds since this clock was made."""
        return (self.monotonic_s() - self._origin_s) * self._time_scale

    def unix_s(self, grid_s: float) -> float:
        """The Unix time of the instant `grid_s` (grid seconds since this clock was made)."""
        return self._anchor_s + grid_s / self._time_scale


class SystemClock(_Scaled):
    """The machine's clock; it goes on while the process is paused, so a continued process finds the right time."""

    def __init__(self, time_scale: float = 1.0) -> None:
        super().__init__(time_scale, time.monotonic(), time.time())

    def monotonic_s(self) -> float:
        """Wall seconds of the machine's monotonic clock."""
        return time.monotonic()


class FakeClock(_Scaled):
    """A clock that only moves when told to; shipped, so that users' tests can use it too."""

    def __init__(self, time_scale: float = 1.0, time_s: float = 1_000_000.0) -> None:
        super().__init__(time_scale, 0.0, time_s)
        self._now_s = 0.0

    def monotonic_s(self) -> float:
        """Wall seconds since this clock was made."""
        return self._now_s

    def jump(self, wall_s: float) -> None:
        """Moves on by `wall_s` wall seconds (`wall_s * time_scale` grid seconds)."""
        self._now_s += wall_s

    def jump_grid(self, grid_s: float) -> None:
        """Moves on by `grid_s` grid seconds."""
        self._now_s += grid_s / self._time_scale
