"""When each process could surely be reached, from the supervisor's events. Pure; must not know files.

A process counts as there from `SETTLED_S` after its READY to a while before the event that ended it: a crash is noticed
within `NOTICED_S`, but that one no longer answers only after several questions, `UNANSWERED_S`. Where a supervisor died
without a word, its processes count as there up to its last event only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gridctl.audit.evidence import Presence

#: A balancer has heard of a new or returned substation after this (wall seconds).
SETTLED_S = 1.0
#: An exit, a pause or a stop is in the events at most this long after it happened (wall seconds).
NOTICED_S = 0.5
#: Three questions, 2 s apart, each waited for 2 s: after so long a silent process is UNHEALTHY (wall seconds).
UNANSWERED_S = 13.0


@dataclass(frozen=True, slots=True)
class Change:
    """One event of the supervisor: process `name` became `state` at `at_s` (Unix); `seq` counts from 1 in each run of it.

    All words are "" for any other event.
    """

    at_s: float
    seq: int
    name: str = ""
    state: str = ""
    role: str = ""


def presences(changes: Iterable[Change], alive: bool) -> Mapping[str, Presence]:
    """By name, when each process was surely READY; `alive` says whether the supervisor still runs."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for run, last_s in _runs(changes, alive):
        ready: dict[str, float] = {}
        for change in run:
            if change.name:
                spans.setdefault(change.name, [])
                began_s = ready.pop(change.name, None)
                if began_s is not None:
                    spans[change.name].append((began_s, change.at_s - _unnoticed_s(change.state)))
                if change.state == "READY":
                    ready[change.name] = change.at_s + SETTLED_S
        for name, began_s in ready.items():
            spans[name].append((began_s, last_s))
    return {name: Presence(tuple(span for span in own if span[0] < span[1])) for name, own in spans.items()}


def _unnoticed_s(state: str) -> float:
    return UNANSWERED_S if state == "UNHEALTHY" else NOTICED_S


def _runs(changes: Iterable[Change], alive: bool) -> Iterator[tuple[list[Change], float]]:
    """The events of each run of the supervisor, and until when what it said last held."""
    run: list[Change] = []
    for change in changes:
        if run and change.seq <= run[-1].seq:
            yield run, run[-1].at_s
            run = []
        run.append(change)
    if run:
        yield run, (math.inf if alive else run[-1].at_s)
