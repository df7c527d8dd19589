"""I3: whoever was answered 202 has a session or a place in a queue, until its end or a recorded reason. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from gridctl.audit.evidence import CLOCK_S, Evidence, Stay, Wait
from gridctl.audit.verdict import Answered, Violation

#: Grid seconds by which two floats that mean the same instant may differ.
_SAME_GRID_S = 1e-6


def broken(evidence: Evidence) -> Iterator[Violation]:
    """Every answer that was not kept, and every session that ended before its time for no reason.

    What went to external substations is not promised.
    """
    stays: defaultdict[str, list[tuple[str, Stay]]] = defaultdict(list)
    waits: defaultdict[str, list[Wait]] = defaultdict(list)
    for station in evidence.stations.values():
        for stay in station.stays:
            stays[stay.request_id].append((station.name, stay))
    for wait in evidence.waits:
        waits[wait.request_id].append(wait)
    void = _void(evidence)
    valid = {rid: [pair for pair in own if not _is_void(pair, void)] or own for rid, own in stays.items()}
    for answer in once(evidence.answered):
        own, places = stays.get(answer.request_id, []), waits.get(answer.request_id, [])
        forgotten = not (own or places) and answer.at_s < evidence.complete_since_s
        if not forgotten and answer.substation not in evidence.external:
            yield from _judged(answer, valid.get(answer.request_id, []), places, _served_s(answer, own))
    for request_id, own in valid.items():
        yield from _early(request_id, _kept(own))


def _void(evidence: Evidence) -> Mapping[tuple[str, str], int]:
    """By request and substation: up to which attempt a balancer gave it up there, and so placed it by a later one."""
    void: defaultdict[tuple[str, str], int] = defaultdict(int)
    for decision in evidence.revocations:
        where = (decision.request_id, decision.substation)
        void[where] = max(void[where], decision.attempt)
    return void


def _is_void(pair: tuple[str, Stay], void: Mapping[tuple[str, str], int]) -> bool:
    name, stay = pair
    return stay.attempt <= void.get((stay.request_id, name), 0)


def _kept(stays: Sequence[tuple[str, Stay]]) -> list[tuple[str, Stay]]:
    """The sessions that were not revoked, each with its substation, in the order of their starts."""
    return sorted((pair for pair in stays if pair[1].state != "revoked"), key=lambda pair: pair[1].start_s)


def miscounted(evidence: Evidence) -> Iterator[Violation]:
    """Every substation that says it answered 202 more often than its journal has sessions of that run."""
    for counter in evidence.counters:
        station = evidence.stations.get(counter.substation)
        begun = None if station is None else station.begun.get(counter.epoch)
        if begun is not None and counter.accepted > begun:
            expected = (
                f"each of the {counter.accepted} sessions that it answered 202 since it started is in its journal"
            )
            yield Violation("I3", evidence.now_s, "", counter.substation, expected, f"{begun} of them")


def once(answered: Sequence[Answered]) -> list[Answered]:
    """The earliest answer to each request, the one that names a substation before one that does not."""
    first: dict[str, Answered] = {}
    for answer in sorted(answered, key=lambda answer: (answer.at_s, answer.substation is None)):
        first.setdefault(answer.request_id, answer)
    return list(first.values())


def _served_s(answer: Answered, stays: Sequence[tuple[str, Stay]]) -> float:
    """When the session of which the client was told came to its planned end: from then on nothing is owed."""
    named = (stay for name, stay in stays if answer.substation in {name, None})
    return min((stay.end_s for stay in named if stay.state == "ended"), default=math.inf)


def _judged(
    answer: Answered, stays: Sequence[tuple[str, Stay]], waits: Sequence[Wait], served_s: float
) -> Iterator[Violation]:
    kept = _kept(stays)
    if kept:
        yield from _gaps(answer, kept, waits, served_s)
        return
    found = _without_session(stays, waits)
    if found:
        where = answer.substation or (stays[0][0] if stays else "")
        expected = f"a session{f' at {answer.substation}' if answer.substation else ''}, or a place in a queue"
        yield Violation("I3", answer.at_s, answer.request_id, where, expected, found)


def _without_session(stays: Sequence[tuple[str, Stay]], waits: Sequence[Wait]) -> str:
    """What became of a request that has no session but revoked ones; "" where that is in order."""
    if waits:
        last = max(waits, key=lambda wait: wait.since_s)
        if last.state == "placed":
            return f"{last.balancer} placed it from its queue, and no journal has a session"
        return "" if last.state != "dropped" or last.reason else f"{last.balancer} dropped it and recorded no reason"
    if stays:
        name, stay = max(stays, key=lambda pair: pair[1].start_s)
        return f"its only session, at {name}, was revoked (attempt {stay.attempt}) and none took its place"
    return "no journal has a session of it, no queue a place"


def _early(request_id: str, kept: Sequence[tuple[str, Stay]]) -> Iterator[Violation]:
    """A session that was over before its time, and nothing says why."""
    if not kept:
        return
    name, last = max(kept, key=lambda pair: pair[1].end_s)
    missing_s = last.planned_end_grid_s - last.end_grid_s
    explained = last.state == "cancelled" or (last.state == "dropped" and last.reason)
    if missing_s > _SAME_GRID_S and not explained:
        found = f"it {last.state} {missing_s:.3f} grid seconds before, and no reason is recorded"
        yield Violation("I3", last.end_s, request_id, name, "it charges until its planned end", found)


def _gaps(
    answer: Answered, kept: Sequence[tuple[str, Stay]], waits: Sequence[Wait], served_s: float
) -> Iterator[Violation]:
    """A time after the answer at which the request had neither a session nor a place, though one came later."""
    spans = [(stay.start_s, stay.end_s, name) for name, stay in kept]
    spans += [(wait.since_s, wait.until_s, wait.balancer) for wait in waits]
    until_s = answer.at_s
    for start_s, end_s, name in sorted(spans):
        if start_s - until_s > CLOCK_S and start_s < served_s:
            found = f"it had none for {start_s - until_s:.3f} s, until {name} had it"
            yield Violation(
                "I3", until_s, answer.request_id, name, "a session or a place in a queue all the while", found
            )
        until_s = max(until_s, end_s)
