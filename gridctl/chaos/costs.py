"""What each fault cost the clients. Pure: deeds and replies in, figures out; all times are seconds of one clock."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from gridctl.chaos.timeline import Step


class Reply(NamedTuple):
    """What became of one request: when it was sent and answered (or given up), and its kind: accepted, refused, failed.

    `late`: it failed because too much time had passed, not at once.
    """

    sent_s: float
    answered_s: float
    kind: str
    late: bool = False


@dataclass(frozen=True, slots=True)
class Deed:
    """A step that was done, from `began_s` until what it met was well again; `note` says what came of it."""

    step: Step
    began_s: float
    ended_s: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """Requests that failed for one deed, and the longest time without an accepted answer while it was on (None: no load)."""

    failed: int
    longest_gap_s: float | None


@dataclass(frozen=True, slots=True)
class Costs:
    """The cost of each deed, in their order, what failed without any, and the longest gap of all."""

    each: tuple[Cost, ...]
    failed_otherwise: int
    longest_gap_s: float | None


def costs(deeds: Sequence[Deed], replies: Sequence[Reply], start_s: float, end_s: float) -> Costs:
    """What `deeds` cost those who sent `replies` between `start_s` and `end_s`.

    A failed request counts once, for the newest deed that was on when it failed; a late one, whose cause is long past by
    then, for the newest that was on when it was sent. Where none was, for the one that began last before it failed, or
    first after a late one was sent. A gap without accepted answers counts for every deed that was on in it.
    """
    blamed = Counter(_blame(deeds, reply) for reply in replies if reply.kind == "failed")
    gaps = _gaps(replies, start_s, end_s)
    each = tuple(Cost(blamed[number], _longest(gaps, deed)) for number, deed in enumerate(deeds))
    return Costs(each, blamed[None], max((later - sooner for sooner, later in gaps), default=None))


def _blame(deeds: Sequence[Deed], reply: Reply) -> int | None:
    began_s = [deed.began_s for deed in deeds]
    decisive_s = reply.sent_s if reply.late else reply.answered_s
    on = [number for number, deed in enumerate(deeds) if deed.began_s <= decisive_s <= deed.ended_s]
    if on:
        return max(on, key=began_s.__getitem__)
    meanwhile = [number for number, at_s in enumerate(began_s) if reply.sent_s < at_s <= reply.answered_s]
    choose = min if reply.late else max
    return choose(meanwhile, key=began_s.__getitem__, default=None)


def _gaps(replies: Sequence[Reply], start_s: float, end_s: float) -> list[tuple[float, float]]:
    """The times between accepted answers, in order, from the start to the end."""
    if not replies:
        return []
    accepted = sorted(reply.answered_s for reply in replies if reply.kind == "accepted")
    edges = [start_s, *(at_s for at_s in accepted if start_s <= at_s <= end_s), end_s]
    return list(pairwise(edges))


def _longest(gaps: Sequence[tuple[float, float]], deed: Deed) -> float | None:
    """Gaps are in order, so those that overlap the deed are neighbours."""
    first = bisect_right(gaps, deed.began_s, key=lambda gap: gap[1])
    if gaps and gaps[-1][1] == deed.began_s:  # it began as the time ended
        first = len(gaps) - 1
    longest = None
    for sooner, later in gaps[first:]:
        if sooner > deed.ended_s:
            break
        longest = max(longest or 0.0, later - sooner)
    return longest
