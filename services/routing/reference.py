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
    """An EV that asks at `at_s` and, where it is let in, stays for `length_s` (seconds of any one clock)."""

    at_s: float
    length_s: float


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


def jsq_spread(
    arrivals: Iterable[Arrival],
    capacities: Sequence[int],
    since_s: float | None = None,
    until_s: float | None = None,
    seed: int = 0,
) -> float | None:
    """The spread (time average of most less fewest sessions) under perfect join-the-shortest-queue with hard limits.

    `capacities` are slots by substation. Each arrival goes where the load after it, (sessions + 1) ÷ slots, is smallest,
    ties at random by `seed`; where nobody has room it is blocked. The average is over `since_s` … `until_s`, by default
    the first arrival … the last; earlier arrivals are placed, not averaged. None where that is no time, or nowhere to go.
    """
    ordered = sorted(arrivals, key=lambda arrival: arrival.at_s)
    begin_s = since_s if since_s is not None else ordered[0].at_s if ordered else 0.0
    end_s = until_s if until_s is not None else ordered[-1].at_s if ordered else 0.0
    if end_s <= begin_s or not capacities:
        return None
    levels, rng = _Levels(len(capacities)), Random(seed)
    ends: list[tuple[float, int]] = []
    area, last_s = 0.0, begin_s

    def pass_time(now_s: float) -> None:
        nonlocal area, last_s
        until = min(now_s, end_s)
        if until > last_s:
            area += (levels.highest - levels.lowest) * (until - last_s)
            last_s = until

    def end_sessions(now_s: float) -> None:
        while ends and ends[0][0] <= now_s:
            at_s, index = heapq.heappop(ends)
            pass_time(at_s)
            levels.end(index)

    for arrival in ordered:
        end_sessions(arrival.at_s)
        pass_time(arrival.at_s)
        index = _shortest(levels.sessions, capacities, rng)
        if index is not None:
            levels.begin(index)
            heapq.heappush(ends, (arrival.at_s + arrival.length_s, index))
    end_sessions(end_s)
    pass_time(end_s)
    return area / (end_s - begin_s)


def _shortest(sessions: Sequence[int], capacities: Sequence[int], rng: Random) -> int | None:
    best, least, ties = None, math.inf, 0
    for index, (used, slots) in enumerate(zip(sessions, capacities, strict=True)):
        if used >= slots:
            continue
        load = (used + 1) / slots
        if load > least:
            continue
        ties = ties + 1 if load == least else 1
        if ties == 1 or rng.random() * ties < 1:
            best, least = index, load
    return best


def blocked_pooled(arrivals: Iterable[Arrival], slots: int, since_s: float | None = None) -> float | None:
    """The share (0 … 1) of `arrivals` that one pool of all `slots` would have blocked: nobody who places can block less.

    Only those at `since_s` or later count (all by default); None where there are none.
    """
    ends: list[float] = []
    counted = blocked = 0
    for arrival in sorted(arrivals, key=lambda arrival: arrival.at_s):
        while ends and ends[0] <= arrival.at_s:
            heapq.heappop(ends)
        counts = since_s is None or arrival.at_s >= since_s
        counted += counts
        if len(ends) < slots:
            heapq.heappush(ends, arrival.at_s + arrival.length_s)
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
