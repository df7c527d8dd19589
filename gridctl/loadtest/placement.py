"""How well sessions were placed, from the substations' own records of starts and ends. Pure; must not know HTTP or time now.

Never from polled gauges: between two polls anything can happen. Times are wall-clock seconds, power is integer watts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Session:
    """One session of a substation's records, from `start_s` (inclusive) to `end_s` (exclusive), drawing `power_w`.

    `planned_s` is how long it was to last when it began (wall seconds).
    """

    request_id: str
    start_s: float
    end_s: float
    power_w: int
    planned_s: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What a substation may carry at once: sessions, and watts unless None."""

    max_sessions: int
    capacity_w: int | None = None

    def slots(self, power_w: int) -> int:
        """How many sessions of `power_w` fit at once."""
        if self.capacity_w is None or power_w <= 0:
            return self.max_sessions
        return min(self.max_sessions, self.capacity_w // power_w)

    def narrower(self, other: Limits) -> Limits:
        """What both allow."""
        watts = [each for each in (self.capacity_w, other.capacity_w) if each is not None]
        return Limits(min(self.max_sessions, other.max_sessions), min(watts, default=None))

    def wider(self, other: Limits) -> Limits:
        """What one of them allows."""
        capacity_w = None
        if self.capacity_w is not None and other.capacity_w is not None:
            capacity_w = max(self.capacity_w, other.capacity_w)
        return Limits(max(self.max_sessions, other.max_sessions), capacity_w)


@dataclass(frozen=True, slots=True)
class Level:
    """What one substation carries from `start_s` until the next level: `arrived` sessions began at that moment."""

    start_s: float
    sessions: int
    power_w: int
    arrived: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What the records of one run say; `excess` and `spread` are None where there was no load, or no time.

    `overloads` counts arrivals that left a substation above one of its limits, `peak_load_pct` is the highest load
    anywhere (the larger of sessions and power), `excess` is Σ∫max(0, load - limit) / Σ∫load over all substations (the
    larger of sessions and power), `spread` the time average of max - min load in sessions.
    """

    peak_sessions: Mapping[str, int]
    overloads: int
    peak_load_pct: float
    excess: float | None
    spread: float | None


def measure(
    records: Mapping[str, Sequence[Session]], limits: Mapping[str, Limits], start_s: float, sent_s: float, end_s: float
) -> Figures:
    """The figures between `start_s` and `end_s`; the spread between `start_s` and `sent_s`, when EVs were arriving.

    `records` and `limits` have the same substations.
    """
    levels = {name: list(_levels(sessions)) for name, sessions in records.items()}
    within = {name: list(_within(steps, start_s, end_s)) for name, steps in levels.items()}
    over = [_arrived_over(within[name], limits[name], start_s) for name in records]
    loads = [load_pct(step, limits[name]) for name in records for step, _ in within[name]]
    return Figures(
        peak_sessions={name: max((step.sessions for step, _ in steps), default=0) for name, steps in within.items()},
        overloads=sum(over),
        peak_load_pct=max(loads, default=0.0),
        excess=_excess(within, limits),
        spread=_spread(levels, start_s, sent_s),
    )


def load_pct(level: Level, limits: Limits) -> float:
    """The load in percent of the limit that is nearest (or furthest exceeded)."""
    by_sessions = level.sessions / limits.max_sessions
    by_power = level.power_w / limits.capacity_w if limits.capacity_w else 0.0
    return 100 * max(by_sessions, by_power)


def _levels(sessions: Iterable[Session]) -> Iterator[Level]:
    """The steps of load over time. At one moment ends count before starts: what ends then has made room."""
    changes = [(s.start_s, 1, s.power_w, 1) for s in sessions if s.end_s > s.start_s]
    changes += [(s.end_s, -1, -s.power_w, 0) for s in sessions if s.end_s > s.start_s]
    count, power_w = 0, 0
    for moment, group in groupby(sorted(changes), key=lambda change: change[0]):
        arrived = 0
        for _, sessions_more, power_more, began in group:
            count, power_w, arrived = count + sessions_more, power_w + power_more, arrived + began
        yield Level(moment, count, power_w, arrived)


def _within(levels: Sequence[Level], start_s: float, end_s: float) -> Iterator[tuple[Level, float]]:
    """The levels that hold at some time between `start_s` and `end_s`, each with the seconds it does."""
    for level, until_s in _with_ends(levels, end_s):
        length_s = min(until_s, end_s) - max(level.start_s, start_s)
        if length_s > 0 or start_s <= level.start_s <= end_s:
            yield level, max(0.0, length_s)


def _with_ends(levels: Sequence[Level], end_s: float) -> Iterator[tuple[Level, float]]:
    ends = [level.start_s for level in levels[1:]] + [end_s]
    return zip(levels, ends, strict=True) if levels else iter(())


def _arrived_over(steps: Iterable[tuple[Level, float]], limits: Limits, start_s: float) -> int:
    """How many arrivals left the substation above a limit; of those at one moment only as many as it took."""
    total = 0
    for level, _ in steps:
        if level.start_s >= start_s and load_pct(level, limits) > 100:
            over = max(1, level.sessions - limits.max_sessions)
            total += min(level.arrived, over)
    return total


def _excess(within: Mapping[str, Sequence[tuple[Level, float]]], limits: Mapping[str, Limits]) -> float | None:
    over_sessions = over_power = sessions = power = 0.0
    for name, steps in within.items():
        most, most_w = limits[name].max_sessions, limits[name].capacity_w
        for level, length_s in steps:
            sessions += level.sessions * length_s
            power += level.power_w * length_s
            over_sessions += max(0, level.sessions - most) * length_s
            over_power += max(0, level.power_w - most_w) * length_s if most_w else 0.0
    if not sessions:
        return None
    return max(over_sessions / sessions, over_power / power if power else 0.0)


def _spread(levels: Mapping[str, Sequence[Level]], start_s: float, end_s: float) -> float | None:
    if end_s <= start_s or not levels:
        return None
    now = dict.fromkeys(levels, 0)
    area, since_s = 0.0, start_s
    steps = sorted(((level.start_s, name, level.sessions) for name, own in levels.items() for level in own))
    for moment, name, sessions in steps:
        if moment >= end_s:
            break
        if moment > since_s:
            area += (max(now.values()) - min(now.values())) * (moment - since_s)
            since_s = moment
        now[name] = sessions
    area += (max(now.values()) - min(now.values())) * (end_s - since_s)
    return area / (end_s - start_s)
