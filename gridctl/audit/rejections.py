"""Refusals that were not needed: one substation had room for the request all the while, could be reached and admitted. Pure.

"All the while" is from the request's arrival at a balancer to its refusal there, both ends included, by the substations'
own records. Whether a substation could be reached is told by its `present` spans (see gridctl.audit.presence) and by the
balancers' failed tries: whom one of them asked in vain meanwhile could not be reached all the while.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gridctl.audit.evidence import CLOCK_S, Limit, Station
from gridctl.audit.verdict import Refused, Violation

NONE_FAILED: Mapping[str, Sequence[float]] = {}
#: The reasons that say there is no room. Others (`starting`, `recovering`, `timeout` …) say something else.
FOR_WANT_OF_ROOM = frozenset({"grid-full", "queue-full", "draining"})


@dataclass(frozen=True, slots=True)
class _Room:
    """How full one substation was over time, in steps: from `since_s[i]` on, `sessions[i]` and `load_w[i]`."""

    station: Station
    since_s: Sequence[float]
    sessions: Sequence[int]
    load_w: Sequence[int]
    limits_since_s: Sequence[float]

    def had(self, refused: Refused) -> bool:
        """Whether `refused` would have fitted at every instant from its arrival to its refusal."""
        start_s, end_s = refused.arrived_s, refused.refused_s
        if start_s < self.station.complete_since_s or not self.station.present.throughout(start_s, end_s):
            return False
        limits = _in_force(self.station.limits, self.limits_since_s, start_s, end_s)
        if not limits or not all(limit.admitting for limit in limits):
            return False
        first = max(0, bisect_right(self.since_s, start_s) - 1)
        steps = range(first, bisect_right(self.since_s, end_s))
        used = [(self.sessions[step], self.load_w[step]) for step in steps] or [(0, 0)]
        if self.since_s and self.since_s[0] > start_s:
            used.append((0, 0))
        return all(
            not limit.hard or limit.holds(sessions + 1, load_w + refused.power_w)
            for sessions, load_w in used
            for limit in limits
        )


def avoidable(
    refusals: Iterable[Refused], stations: Iterable[Station], failed_tries: Mapping[str, Sequence[float]] = NONE_FAILED
) -> Iterator[Violation]:
    """Every refusal that was not needed, with the first substation that had room."""
    rooms = [_room(station) for station in stations]
    for refused in refusals:
        if refused.reason not in FOR_WANT_OF_ROOM:
            continue
        for room in rooms:
            name = room.station.name
            if room.had(refused) and not _failed(failed_tries.get(name, ()), refused):
                yield _violation(refused, name)
                break


def judged(refusals: Iterable[Refused], stations: Iterable[Station]) -> int:
    """How many refusals for want of room came when at least one journal already, and still, told what there was."""
    since_s = min(
        (max(one.limits[0].since_s, one.complete_since_s) for one in stations if one.limits), default=math.inf
    )
    return sum(each.reason in FOR_WANT_OF_ROOM and each.arrived_s >= since_s for each in refusals)


def _failed(at_s: Sequence[float], refused: Refused) -> bool:
    index = bisect_left(at_s, refused.arrived_s)
    return index < len(at_s) and at_s[index] <= refused.refused_s + CLOCK_S


def _violation(refused: Refused, name: str) -> Violation:
    between = f"{1000 * (refused.refused_s - refused.arrived_s):.3f} ms"
    expected = f"that {name} takes it: it had room for {refused.power_w / 1000:g} kW all the while, {between}"
    return Violation(
        "avoidable-rejection", refused.refused_s, refused.request_id, name, expected, f"refused: {refused.reason}"
    )


def _room(station: Station) -> _Room:
    """The steps of what `station` carried; at one instant ends and starts count together."""
    changes: dict[float, tuple[int, int]] = {}
    for stay in station.stays:
        if stay.end_s <= stay.start_s:
            continue
        for moment, more in ((stay.start_s, 1), (stay.end_s, -1)):
            sessions, load_w = changes.get(moment, (0, 0))
            changes[moment] = (sessions + more, load_w + more * stay.power_w)
    since_s = sorted(changes)
    sessions = load_w = 0
    counts, watts = [], []
    for moment in since_s:
        sessions, load_w = sessions + changes[moment][0], load_w + changes[moment][1]
        counts.append(sessions)
        watts.append(load_w)
    return _Room(station, since_s, counts, watts, [limit.since_s for limit in station.limits])


def _in_force(limits: Sequence[Limit], since_s: Sequence[float], start_s: float, end_s: float) -> Sequence[Limit]:
    """The limits that held at some instant of [start, end]; none where they are not known for all of it."""
    first = bisect_right(since_s, start_s) - 1
    return limits[first : bisect_right(since_s, end_s)] if first >= 0 else ()
