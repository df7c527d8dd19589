"""When EVs should arrive: pure functions of elapsed time. Must not know clocks, HTTP or what an EV asks for.

A pace is a piecewise linear rate. Its integral counts the arrivals, so the k-th arrival of a uniform pace is where the
integral reaches k, and a Poisson process of that rate is a unit-rate one put through the same inverse (time change).
The inverse is closed-form, so nothing adds up over a long run. The idea that pacing is a function of elapsed time is
vegeta's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from random import Random

#: An arrival this close (in EVs) to the end of the pace belongs to the next one: 0.1 EV/s for 30 s are 3 EVs, not 4.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Stage:
    """A rate that goes linearly from `rate_from` to `rate_to` (EVs per second) in `duration_s`."""

    rate_from: float
    rate_to: float
    duration_s: float

    @property
    def arrivals(self) -> float:
        """The integral of the rate: how many EVs this stage brings."""
        return (self.rate_from + self.rate_to) / 2 * self.duration_s

    def when(self, arrivals: float) -> float:
        """The second at which the integral of the rate reaches `arrivals` (which must not be above `self.arrivals`).

        The root of `rate_from·t + slope·t²/2 = arrivals`, in the form that loses no digits when the slope is small.
        """
        if arrivals <= 0:
            return 0.0
        slope = (self.rate_to - self.rate_from) / self.duration_s
        root = math.sqrt(max(0.0, self.rate_from**2 + 2 * slope * arrivals))
        return min(self.duration_s, 2 * arrivals / (self.rate_from + root))

    def first(self, duration_s: float) -> Stage:
        """This stage, ended after `duration_s` seconds."""
        share = duration_s / self.duration_s
        return Stage(self.rate_from, self.rate_from + (self.rate_to - self.rate_from) * share, duration_s)


@dataclass(frozen=True, slots=True)
class Pace:
    """Stages one after another."""

    stages: tuple[Stage, ...]

    @property
    def arrivals(self) -> float:
        """How many EVs the whole pace brings, on average for a Poisson one."""
        return math.fsum(stage.arrivals for stage in self.stages)

    @property
    def duration_s(self) -> float:
        """How long it lasts."""
        return math.fsum(stage.duration_s for stage in self.stages)

    @property
    def constant_rate(self) -> float | None:
        """The rate (EVs per second) where it never changes, else None."""
        rates = {rate for stage in self.stages for rate in (stage.rate_from, stage.rate_to)}
        return rates.pop() if len(rates) == 1 else None

    def cut(self, duration_s: float) -> Pace:
        """The first `duration_s` seconds; a pace that is shorter begins again."""
        kept: list[Stage] = []
        left = duration_s
        while left > 0:
            for stage in self.stages:
                if left <= 0:
                    break
                kept.append(stage if stage.duration_s <= left else stage.first(left))
                left -= stage.duration_s
        return Pace(tuple(kept))


def constant(rate: float, duration_s: float) -> Pace:
    """`rate` EVs per second for `duration_s` seconds."""
    return Pace((Stage(rate, rate, duration_s),))


def uniform(pace: Pace) -> Iterator[float]:
    """The seconds at which EVs arrive when they are evenly spaced: as many as the integral of the rate, rounded up."""
    return _spread(pace, (float(k) for k in count()))


def poisson(pace: Pace, rng: Random) -> Iterator[float]:
    """The seconds at which EVs arrive independently of each other (a Poisson process of the pace's rate)."""
    return _spread(pace, accumulate(rng.expovariate(1.0) for _ in count()))


def burst(size: int) -> Iterator[float]:
    """`size` EVs at once, at second 0."""
    return (0.0 for _ in range(size))


def _spread(pace: Pace, positions: Iterator[float]) -> Iterator[float]:
    """Each position on the axis of counted arrivals, put on the axis of time."""
    position = next(positions)
    for stage, before, start_s in _starts(pace.stages):
        while position - before < stage.arrivals - _ROUNDING:
            yield start_s + stage.when(position - before)
            position = next(positions)


def _starts(stages: Sequence[Stage]) -> Iterator[tuple[Stage, float, float]]:
    before = accumulate((stage.arrivals for stage in stages), initial=0.0)
    start_s = accumulate((stage.duration_s for stage in stages), initial=0.0)
    return zip(stages, before, start_s, strict=False)
