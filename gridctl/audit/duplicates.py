"""I2: at any instant at most one session of a request is not revoked. Pure.

A revoked one may overlap with its successor where its substation could not be told: such an overlap is listed, and breaks
the promise only where it went on for more than `GRACE_S` although the substation could be reached by a balancer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from gridctl.audit.evidence import ALWAYS, CLOCK_S, Evidence, Presence, Revocation, Stay
from gridctl.audit.verdict import Overlap, Violation

#: A revoked duplicate ends within this of its substation being reachable (wall seconds).
GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class _Place:
    """One session and where it was; `revoked_by` is the decision that voids it where its substation says nothing of that."""

    substation: str
    stay: Stay
    revoked_by: Revocation | None

    @property
    def revoked(self) -> bool:
        return self.stay.state == "revoked" or self.revoked_by is not None


def overlapping(evidence: Evidence) -> Iterator[Violation | Overlap]:
    """Every overlap of two sessions of one request: a Violation, or an Overlap that was made good in time."""
    for request_id, places in _by_request(evidence).items():
        for one, other in combinations(places, 2):
            span = _common(one, other, evidence.now_s)
            if span is None or (one.revoked and other.revoked):
                continue
            if not (one.revoked or other.revoked):
                yield _twice(request_id, (one, other), span)
            else:
                revoked, kept = (one, other) if one.revoked else (other, one)
                yield from _judged(evidence, revoked, kept, span)


def _by_request(evidence: Evidence) -> Mapping[str, list[_Place]]:
    """The sessions of every request that has more than one."""
    decisions: dict[tuple[str, str], Revocation] = {}
    for decision in evidence.revocations:
        key = (decision.request_id, decision.substation)
        if key not in decisions or decisions[key].attempt < decision.attempt:
            decisions[key] = decision
    found: defaultdict[str, list[_Place]] = defaultdict(list)
    for station in evidence.stations.values():
        for stay in station.stays:
            voided = decisions.get((stay.request_id, station.name))
            if voided is not None and stay.attempt > voided.attempt:
                voided = None
            found[stay.request_id].append(_Place(station.name, stay, voided))
    return {request_id: places for request_id, places in found.items() if len(places) > 1}


def _common(one: _Place, other: _Place, now_s: float) -> tuple[float, float] | None:
    """When both charged (Unix seconds), until now; None where they did not, or no longer than two clocks may differ."""
    a, b = one.stay, other.stay
    start_s, end_s = max(a.start_s, b.start_s), min(a.end_s, b.end_s, now_s)
    if one.substation == other.substation:
        # one clock: the least overlap counts
        both = min(a.end_grid_s, b.end_grid_s) > max(a.start_grid_s, b.start_grid_s)
        return (start_s, max(start_s, end_s)) if both else None
    return (start_s, end_s) if end_s - start_s > CLOCK_S else None


def _twice(request_id: str, places: tuple[_Place, _Place], span: tuple[float, float]) -> Violation:
    where = " and ".join(f"{place.substation} (attempt {place.stay.attempt})" for place in places)
    found = f"it charges at {where} at once, for {span[1] - span[0]:.3f} s, and neither is revoked"
    return Violation("I2", span[0], request_id, places[1].substation, "one session that is not revoked", found)


def _judged(
    evidence: Evidence, revoked: _Place, kept: _Place, span: tuple[float, float]
) -> Iterator[Violation | Overlap]:
    start_s, end_s = span
    station = evidence.stations[revoked.substation]
    reachable = station.present.both(_deliverer(evidence, revoked))
    reachable_s = max(0.0, reachable.longest_s(start_s, end_s))
    request_id = revoked.stay.request_id
    yield Overlap(request_id, revoked.substation, kept.substation, start_s, end_s, reachable_s)
    if reachable_s > GRACE_S:
        expected = f"a revoked session ends within {GRACE_S:g} s of {revoked.substation} being reachable"
        lasted = f"{end_s - start_s:.3f} s, {reachable_s:.3f} s of it reachable"
        found = f"it overlapped with that at {kept.substation} for {lasted}"
        yield Violation("I2", start_s, request_id, revoked.substation, expected, found)


def _deliverer(evidence: Evidence, revoked: _Place) -> Presence:
    """When the balancer that decided was there to tell the substation; always, where it is not known which one did."""
    decision = revoked.revoked_by
    return ALWAYS if decision is None else evidence.balancers.get(decision.balancer, ALWAYS)
