"""The planned ends of a report, kept up to date at each change; must not know sessions or limits."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from config.report import Step, gather, steps_of

#: Steps are gathered anew after this share of the sessions changed: few sessions stay exact, many cost little …
_STEADY_SHARE = 64
#: … and more than so many less than that: a step may then hold twice what it should.
_MANY = 1024
_MANYS_SHARE = 16

#: Grid seconds, a number, watts, and what else whoever keeps them needs.
Ends = Sequence[tuple[float, int, int, Any]]


class Forecast:
    """At most 16 steps that sum up to what runs; each stands at the earliest end it holds, or before.

    `ends` gives all planned ends, ascending; to go through them costs O(n) and is done rarely.
    """

    def __init__(self, ends: Callable[[], Ends]) -> None:
        self._ends = ends
        self._at_s: list[float] = []
        self._sessions: list[int] = []
        self._load_w: list[int] = []
        self._changes = 0
        self._total = 0
        self._gathered = True

    def add(self, end_s: float, load_w: int) -> None:
        """A session of `load_w` watts began that ends at `end_s`."""
        self._change(end_s, load_w, 1)

    def remove(self, end_s: float, load_w: int) -> None:
        """A session that was added with these figures is over."""
        self._change(end_s, -load_w, -1)

    def _change(self, end_s: float, load_w: int, sessions: int) -> None:
        self._changes += 1
        self._total += sessions
        at = bisect_right(self._at_s, end_s) - 1
        if at < 0 or self._changes * (_STEADY_SHARE if self._total < _MANY else _MANYS_SHARE) > self._total:
            self._gathered = False
        if self._gathered:
            self._sessions[at] += sessions
            self._load_w[at] += load_w

    def steps(self, now_s: float, first_s: float | None) -> tuple[Step, ...]:
        """The steps as grid seconds from `now_s`; `first_s` is the earliest planned end of all (None: nothing runs)."""
        if not self._gathered:
            self._gather()
        if first_s is None:
            return ()
        held = [at for at, sessions in enumerate(self._sessions) if sessions]
        self._at_s[held[0]] = first_s
        in_s = [at_s - now_s if at_s > now_s else 0.0 for at_s in map(self._at_s.__getitem__, held)]
        return steps_of(in_s, map(self._sessions.__getitem__, held), map(self._load_w.__getitem__, held))

    def _gather(self) -> None:
        steps = gather(self._ends(), watts_at=2)
        self._at_s = [step.in_s for step in steps]
        self._sessions = [step.sessions for step in steps]
        self._load_w = [step.load_w for step in steps]
        self._changes = 0
        self._gathered = True
