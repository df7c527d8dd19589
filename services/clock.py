"""The two clocks: wall seconds for HTTP and processes, grid seconds for charging. Must not know who asks."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

#: On Linux, a name for this run of the machine, whose monotonic clock all processes share.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
#: How often both clocks are read, to have been interrupted least.
_READINGS = 8


class Clock(Protocol):
    """Time as a service sees it. `time_scale` is grid seconds per wall second."""

    @property
    def machine(self) -> str:
        """Names what `monotonic_s` counts in: equal names, one count, also in another process; empty: in this one only."""

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


def both_clocks(
    monotonic_s: Callable[[], float] = time.monotonic, time_s: Callable[[], float] = time.time
) -> tuple[float, float]:
    """Monotonic and Unix time of one instant: of several readings the one between whose halves least time passed.

    A process that is suspended between them would carry the difference in all its records, some milliseconds on a busy
    machine.
    """
    readings = ((monotonic_s(), time_s(), monotonic_s()) for _ in range(_READINGS))
    before_s, unix_s, after_s = min(readings, key=lambda reading: reading[2] - reading[0])
    return (before_s + after_s) / 2, unix_s


@functools.cache
def _machine() -> str:
    """Read once, also for all who are forked later: it stays for as long as the machine runs."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


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
        super().__init__(time_scale, *both_clocks())

    @property
    def machine(self) -> str:
        """This run of the machine; empty where the system does not name it."""
        return _machine()

    #: Wall seconds of the machine's monotonic clock.
    monotonic_s = staticmethod(time.monotonic)


@dataclass(frozen=True, slots=True)
class Anchor:
    """At Unix time `unix_s`, `monotonic_s` of `machine`, a grid's clock said `grid_s` and went on at `time_scale`."""

    unix_s: float
    grid_s: float
    time_scale: float
    machine: str
    monotonic_s: float


class ContinuedClock:
    """`clock`, with the grid's time going on from `last`, the anchor of an earlier process.

    While nobody was there it went on at the scale of that time, and never back: not before `least_s`, whatever became of
    the system's clock. Within one run of the machine the monotonic clock says how long that was.
    """

    def __init__(self, clock: Clock, last: Anchor, least_s: float = 0.0) -> None:
        same = bool(last.machine) and last.machine == clock.machine
        passed_s = clock.monotonic_s() - last.monotonic_s if same else clock.time_s() - last.unix_s
        self._clock = clock
        self._last = last
        self._from_s = max(last.grid_s + max(0.0, passed_s) * last.time_scale, least_s)
        self._offset_s = self._from_s - clock.grid_s()

    @property
    def machine(self) -> str:
        """See `Clock.machine`."""
        return self._clock.machine

    @property
    def time_scale(self) -> float:
        """Grid seconds per wall second, now."""
        return self._clock.time_scale

    def monotonic_s(self) -> float:
        """See `Clock.monotonic_s`."""
        return self._clock.monotonic_s()

    def time_s(self) -> float:
        """See `Clock.time_s`."""
        return self._clock.time_s()

    def grid_s(self) -> float:
        """Grid seconds since the first process began."""
        return self._clock.grid_s() + self._offset_s

    def unix_s(self, grid_s: float) -> float:
        """The Unix time of an instant of the grid; before this process by the earlier one's scale."""
        if grid_s < self._from_s:
            return self._last.unix_s + (grid_s - self._last.grid_s) / self._last.time_scale
        return self._clock.unix_s(grid_s - self._offset_s)


class FakeClock(_Scaled):
    """A clock that only moves when told to; shipped, so that users' tests can use it too."""

    def __init__(self, time_scale: float = 1.0, time_s: float = 1_000_000.0, machine: str = "") -> None:
        super().__init__(time_scale, 0.0, time_s)
        self._now_s = 0.0
        self._fake_machine = machine

    @property
    def machine(self) -> str:
        """The name given to it."""
        return self._fake_machine

    def monotonic_s(self) -> float:
        """Wall seconds since this clock was made."""
        return self._now_s

    def jump(self, wall_s: float) -> None:
        """Moves on by `wall_s` wall seconds (`wall_s * time_scale` grid seconds)."""
        self._now_s += wall_s

    def jump_grid(self, grid_s: float) -> None:
        """Moves on by `grid_s` grid seconds."""
        self._now_s += grid_s / self._time_scale
