"""I1: at no instant does a substation carry more than its limits let it admit. Pure.

A limit that is lowered below what charges (derating) cuts nothing and breaks nothing: what must not happen is that a
session begins which the limit in force does not let in. So every admission is judged, and no other instant can be worse.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from gridctl.audit.evidence import Limit, Station, Stay
from gridctl.audit.verdict import Violation


def exceeded(station: Station) -> Iterator[Violation]:
    """Every session of `station` that began above the limit in force.

    At one instant ends come first; where a limit changed at the very instant, the more generous one counts. Limits that
    were not hard promise nothing.
    """
    if not station.limits:
        return
    since = [limit.since_grid_s for limit in station.limits]
    running: list[tuple[float, int]] = []
    load_w = 0
    for stay in sorted(station.stays, key=lambda stay: stay.start_grid_s):
        if stay.end_grid_s <= stay.start_grid_s:
            continue
        while running and running[0][0] <= stay.start_grid_s:
            load_w -= heapq.heappop(running)[1]
        heapq.heappush(running, (stay.end_grid_s, stay.power_w))
        load_w += stay.power_w
        in_force = station.limits[_before(since, stay.start_grid_s) : max(1, bisect_right(since, stay.start_grid_s))]
        if not any(not limit.hard or limit.holds(len(running), load_w) for limit in in_force):
            yield _violation(station.name, stay, in_force[-1], (len(running), load_w))


def _before(since: Sequence[float], grid_s: float) -> int:
    """The index of the limit that was in force just before `grid_s`; the first one where there was none."""
    return max(0, bisect_left(since, grid_s) - 1)


def _violation(name: str, stay: Stay, limit: Limit, used: tuple[int, int]) -> Violation:
    watts = "" if limit.capacity_w is None else f" and {limit.capacity_w / 1000:g} kW"
    drawn = "" if limit.capacity_w is None else f", {used[1] / 1000:g} kW"
    expected = f"at most {limit.max_sessions} sessions{watts} at once"
    return Violation("I1", stay.start_s, stay.request_id, name, expected, f"{used[0]} sessions{drawn} as it began")
