"""What a cluster wrote down, as plain values that checkers judge. Must not know files, schemas or what is promised.

`*_s` are Unix seconds, `*_grid_s` grid seconds of the substation: within one substation only these are exact, since it
decides by them. Between processes of one machine Unix times agree to within `CLOCK_S`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gridctl.audit.verdict import Answered, Refused

#: Two processes may read the same instant this differently (seconds): their clocks are anchored one after the other.
CLOCK_S = 0.005

#: What became of a session: `charging`, `ended` (as planned), or ended before for a reason.
State = Literal["charging", "ended", "revoked", "cancelled", "dropped"]


@dataclass(frozen=True, slots=True)
class Stay:
    """One session by its substation's journal, over [start, end); an end of infinity has not come.

    `planned_end_grid_s` is when it was to end; `reason` says why it ended before that, "" where none is recorded.
    """

    request_id: str
    attempt: int
    power_w: int
    start_s: float
    end_s: float
    start_grid_s: float
    end_grid_s: float
    planned_end_grid_s: float
    state: State = "charging"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a substation might carry from an instant on: sessions, and watts unless None.

    It may not be `admitting` new ones (draining); where it is not `hard`, the substation admits whatever comes.
    """

    since_s: float
    since_grid_s: float
    max_sessions: int
    capacity_w: int | None = None
    admitting: bool = True
    hard: bool = True

    def holds(self, sessions: int, load_w: int) -> bool:
        """Whether so much is within it."""
        return sessions <= self.max_sessions and (self.capacity_w is None or load_w <= self.capacity_w)


@dataclass(frozen=True, slots=True)
class Presence:
    """When somebody was surely there: disjoint [from, to] spans of Unix seconds, in order."""

    spans: Sequence[tuple[float, float]] = ()

    def throughout(self, start_s: float, end_s: float) -> bool:
        """Whether one span holds all of [start, end]."""
        index = bisect_right(self.spans, (start_s, math.inf)) - 1
        return index >= 0 and self.spans[index][1] >= end_s

    def longest_s(self, start_s: float, end_s: float) -> float:
        """The longest part of [start, end] that one span holds (seconds)."""
        return max((min(end_s, to_s) - max(start_s, from_s) for from_s, to_s in self.spans), default=0.0)

    def both(self, other: Presence) -> Presence:
        """When both were there."""
        pairs = ((max(a, c), min(b, d)) for a, b in self.spans for c, d in other.spans)
        return Presence(tuple(sorted(pair for pair in pairs if pair[0] < pair[1])))


#: There all the time, as far as anybody knows.
ALWAYS = Presence(((-math.inf, math.inf),))


@dataclass(frozen=True, slots=True)
class Station:
    """One of our own substations: its sessions in the order in which they were admitted, the limits in force, oldest first.

    `present` is when it surely could be reached; `begun` counts by epoch the sessions that began in that run of it, for
    runs of which none was forgotten. Sessions that ended before `complete_since_s` may have been forgotten.
    """

    name: str
    stays: Sequence[Stay] = ()
    limits: Sequence[Limit] = ()
    present: Presence = ALWAYS
    begun: Mapping[int, int] = field(default_factory=dict)
    complete_since_s: float = -math.inf


@dataclass(frozen=True, slots=True)
class Wait:
    """A place in a balancer's queue, from `since_s` to `until_s` (infinity: still), left by `state` for `reason`.

    `departure_s` is when its EV leaves.
    """

    request_id: str
    balancer: str
    since_s: float
    until_s: float = math.inf
    departure_s: float = math.inf
    state: Literal["waiting", "placed", "cancelled", "dropped"] = "waiting"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Revocation:
    """A balancer's decision, journaled at `at_s`, that attempts up to `attempt` of a request at a substation are void."""

    request_id: str
    substation: str
    attempt: int
    at_s: float
    balancer: str


@dataclass(frozen=True, slots=True)
class Counter:
    """What a running substation says of itself: how often it answered 202, anew, since it began as `epoch`, and its limits.

    It was asked before its journal was read.
    """

    substation: str
    epoch: int
    accepted: int
    max_sessions: int = 1
    capacity_w: int | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known at `now_s`.

    `failed_tries` are by substation the instants, in order, at which a balancer found that it got no usable answer there:
    then it could not be reached, whatever its state. `external` names substations for which nothing is promised. Places in
    queues that were left before `waits_since_s` may have been forgotten.
    """

    now_s: float
    stations: Mapping[str, Station] = field(default_factory=dict)
    balancers: Mapping[str, Presence] = field(default_factory=dict)
    waits: Sequence[Wait] = ()
    revocations: Sequence[Revocation] = ()
    answered: Sequence[Answered] = ()
    refused: Sequence[Refused] = ()
    failed_tries: Mapping[str, Sequence[float]] = field(default_factory=dict)
    external: frozenset[str] = frozenset()
    counters: Sequence[Counter] = ()
    waits_since_s: float = -math.inf

    @property
    def complete_since_s(self) -> float:
        """From when on nothing was forgotten anywhere."""
        return max((self.waits_since_s, *(station.complete_since_s for station in self.stations.values())))
