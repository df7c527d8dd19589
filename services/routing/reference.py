"""The best that is possible, to measure placing against: one pool, perfect join-the-shortest-queue, Erlang-B. Pure.

It knows no policy, no report and no network: each function is fed the arrivals of a run (or its nominal load) and says what
a balancer with perfect knowledge would have made of them. At one moment ends count before arrivals.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

#: Erlang-B is not worked out for more slots than this; see `erlang_b`.
SLOTS_LIMIT = 10_000_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """An EV that asks at `at_s` and, where it is let in, draws `power_w` watts for `length_s` (seconds of any one clock).

    One that is not `counted` takes its place like any other, and no share is worked out of it.
    """

    at_s: float
    length_s: float
    power_w: int = 0
    counted: bool = True


class _Levels:
    """Who of N has how many sessions, with the largest and the smallest count kept as counts go up and down by one."""

    def __init__(self, count: int) -> None:
        self.sessions = [0] * count
        self._having = {0: count}
        self.highest = self.lowest = 0

    def begin(self, index: int) -> None:
        was = self._move(index, 1)
        self.highest = max(self.highest, was + 1)
        if was == self.lowest and not self._having[was]:
            self.lowest += 1

    def end(self, index: int) -> None:
        was = self._move(index, -1)
        self.lowest = min(self.lowest, was - 1)
        if was == self.highest and not self._having[was]:
            self.highest -= 1

    def _move(self, index: int, step: int) -> int:
        was = self.sessions[index]
        self.sessions[index] = was + step
        self._having[was] -= 1
        self._having[was + step] = self._having.get(was + step, 0) + 1
        return was


@dataclass(slots=True)
class _Room:
    """One place with limits, and what is taken of it."""

    slots: int
    capacity_w: int | None = None
    sessions: int = 0
    used_w: int = 0

    def load_with(self, power_w: int) -> float:
        """The larger of both ratios with one session of `power_w` more; above 1 it does not fit."""
        if self.sessions >= self.slots:
            return math.inf
        load = (self.sessions + 1) / self.slots
        if self.capacity_w is None:
            return load
        used_w = self.used_w + power_w
        return max(load, used_w / self.capacity_w) if used_w <= self.capacity_w else math.inf

    def begin(self, power_w: int) -> None:
        self.sessions += 1
        self.used_w += power_w

    def end(self, power_w: int) -> None:
        self.sessions -= 1
        self.used_w -= power_w


def jsq_spread(
    arrivals: Iterable[Arrival],
    capacities: Sequence[int],
    since_s: float | None = None,
    until_s: float | None = None,
    seed: int = 0,
    capacities_w: Sequence[int | None] | None = None,
) -> float | None:
    """The spread (time average of most less fewest sessions) under perfect join-the-shortest-queue with hard limits.

    `capacities` are slots by substation, `capacities_w` watts (None: no limit). Each arrival goes where the load after it,
    the larger of (sessions + 1) ÷ slots and watts ÷ capacity, is smallest, ties at random by `seed`; where nobody has room
    it is blocked. The average is over `since_s` … `until_s`, by default the first arrival … the last; earlier arrivals are
    placed, not averaged. None where that is no time, or nowhere to go.
    """
    ordered = sorted(arrivals, key=lambda arrival: arrival.at_s)
    begin_s = since_s if since_s is not None else ordered[0].at_s if ordered else 0.0
    end_s = until_s if until_s is not None else ordered[-1].at_s if ordered else 0.0
    if end_s <= begin_s or not capacities:
        return None
    rooms = [_Room(*limits) for limits in zip(capacities, capacities_w or [None] * len(capacities), strict=True)]
    grid, rng = _Shortest(rooms, begin_s, end_s), Random(seed)
    for arrival in ordered:
        grid.pass_time(arrival.at_s)
        grid.place(arrival, rng)
    grid.pass_time(end_s)
    return grid.area / (end_s - begin_s)


class _Shortest:
    """Rooms filled by join-the-shortest-queue; `area` is the integral of most less fewest sessions, from begin to end."""

    def __init__(self, rooms: Sequence[_Room], begin_s: float, end_s: float) -> None:
        self.area = 0.0
        self._rooms = rooms
        self._levels = _Levels(len(rooms))
        self._last_s, self._end_s = begin_s, end_s
        self._ends: list[tuple[float, int, int]] = []

    def place(self, arrival: Arrival, rng: Random) -> None:
        index = _shortest(self._rooms, arrival.power_w, rng)
        if index is not None:
            self._levels.begin(index)
            self._rooms[index].begin(arrival.power_w)
            heapq.heappush(self._ends, (arrival.at_s + arrival.length_s, index, arrival.power_w))

    def pass_time(self, now_s: float) -> None:
        while self._ends and self._ends[0][0] <= now_s:
            at_s, index, power_w = heapq.heappop(self._ends)
            self._count(at_s)
            self._levels.end(index)
            self._rooms[index].end(power_w)
        self._count(now_s)

    def _count(self, now_s: float) -> None:
        until_s = min(now_s, self._end_s)
        if until_s > self._last_s:
            self.area += (self._levels.highest - self._levels.lowest) * (until_s - self._last_s)
            self._last_s = until_s


def _shortest(rooms: Sequence[_Room], power_w: int, rng: Random) -> int | None:
    best, least, ties = None, math.inf, 0
    for index, room in enumerate(rooms):
        load = room.load_with(power_w)
        if load > least or load > 1:
            continue
        ties = ties + 1 if load == least else 1
        if ties == 1 or rng.random() * ties < 1:
            best, least = index, load
    return best


def blocked_pooled(
    arrivals: Iterable[Arrival], slots: int, since_s: float | None = None, capacity_w: int | None = None
) -> float | None:
    """The share (0 … 1) of `arrivals` that one pool of all `slots` would have blocked: nobody who places can block less.

    `capacity_w` is what the pool may draw at once, in watts (None: no limit). Only those count that are `counted` and
    come at `since_s` or later (all by default); None where there are none.
    """
    room, ends = _Room(slots, capacity_w), list[tuple[float, int]]()
    counted = blocked = 0
    for arrival in sorted(arrivals, key=lambda arrival: arrival.at_s):
        while ends and ends[0][0] <= arrival.at_s:
            room.end(heapq.heappop(ends)[1])
        counts = arrival.counted and (since_s is None or arrival.at_s >= since_s)
        counted += counts
        if room.load_with(arrival.power_w) <= 1:
            room.begin(arrival.power_w)
            heapq.heappush(ends, (arrival.at_s + arrival.length_s, arrival.power_w))
        else:
            blocked += counts
    return blocked / counted if counted else None


def erlang_b(offered: float, slots: int) -> float | None:
    """The share of Poisson arrivals that one pool of `slots` blocks when it is offered `offered` erlangs (Erlang, 1917).

    B₀ = 1, B_k = aB_{k-1} / (k + aB_{k-1}). None where that is undefined (no slots, no finite load) or too long to work
    out (more than 10⁷ steps); beyond the load the values fall so fast that the rest is 0.
    """
    if slots < 1 or not math.isfinite(offered) or offered < 0:
        return None
    blocked = 1.0
    for k in range(1, slots + 1):
        if k > SLOTS_LIMIT:
            return None
        blocked = offered * blocked / (k + offered * blocked)
        if blocked < 1e-15:
            return 0.0
    return blocked
