"""The report that every substation answer carries, as a compact header; must not know who sends or believes it.

    Grid-Report: v=1;epoch=5;seq=17;sessions=3;load_w=22200;max=10;cap_w=74000;draining=0;ends=1.5:1:7400,20.0:2:14800

`cap_w` is `-` where there is no limit in kW. `ends` are planned ends: grid seconds from now, sessions, watts.
"""

from __future__ import annotations

import functools
import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any, NamedTuple

#: A request may name the substation that it means; another one at that address answers with this status (RFC 9110, 15.5.20).
MEANT = "Grid-Substation"
MISDIRECTED = 421
#: The HTTP header.
HEADER = "Grid-Report"
#: Planned ends are gathered into at most this many steps.
MAX_STEPS = 16
#: A longer header is nonsense; the longest honest one is about 1,000 characters.
MAX_LENGTH = 2_048
#: A billion sessions of at most 1 GW.
MAX_SESSIONS = 10**9
MAX_WATTS = 10**18
#: Grid seconds; beyond what the greatest energy at the least power takes.
MAX_IN_S = 1e16

_STEP = r"\d{1,20}(?:\.\d{1,20})?(?:e[+-]?\d{1,3})?:\d{1,10}:\d{1,19}"
_FORM = re.compile(
    r"v=1;epoch=(\d{1,19});seq=(\d{1,19});sessions=(\d{1,10});load_w=(\d{1,19});max=(\d{1,10});"
    rf"cap_w=(-|\d{{1,19}});draining=([01]);ends=((?:{_STEP}(?:,{_STEP})*)?)",
    re.ASCII,
)
_IN_S = itemgetter(0)


class Step(NamedTuple):
    """`sessions` sessions of together `load_w` watts end no earlier than `in_s` grid seconds from now."""

    in_s: float
    sessions: int
    load_w: int


def steps_of(in_s: Iterable[float], sessions: Iterable[int], load_w: Iterable[int]) -> tuple[Step, ...]:
    """As many steps as each of these has elements. A report has 16 of them, and is made and read for each lone request."""
    return tuple([_new(Step, each) for each in zip(in_s, sessions, load_w, strict=True)])


_new = tuple.__new__  # a named tuple's own is in Python, and takes three times as long


@dataclass(frozen=True, slots=True)
class Report:
    """What a substation says of itself at one instant.

    `epoch` is random at boot, `seq` one more at every change: 0 says that it knows of no session. `capacity_w` None: no
    limit in kW. `ends` (at most 16 steps, ascending) sum up to `sessions` and `load_w`; the first is exact, the others are
    rounded to their earlier end.
    """

    epoch: int
    seq: int
    sessions: int
    load_w: int
    max_sessions: int
    capacity_w: int | None = None
    ends: tuple[Step, ...] = ()
    draining: bool = False

    def encode(self) -> str:
        """The header's value."""
        capacity = "-" if self.capacity_w is None else self.capacity_w
        ends = ",".join([f"{in_s!r}:{sessions}:{load_w}" for in_s, sessions, load_w in self.ends])
        return (
            f"v=1;epoch={self.epoch};seq={self.seq};sessions={self.sessions};load_w={self.load_w};"
            f"max={self.max_sessions};cap_w={capacity};draining={int(self.draining)};ends={ends}"
        )

    @staticmethod
    def decode(text: str) -> Report:
        """The report in a header's value; ValueError for anything that a substation cannot have meant."""
        if len(text) > MAX_LENGTH:
            raise ValueError(f"not a grid report: {text[:80]!r}")
        return _decoded(text)

    def check(self) -> None:
        """ValueError where the numbers contradict each other or are beyond what a grid can have."""
        if self.sessions > MAX_SESSIONS or self.max_sessions > MAX_SESSIONS or self.load_w > MAX_WATTS:
            raise ValueError(f"a report beyond all limits: {self.sessions} sessions, {self.load_w} W")
        in_s, sessions, load_w = zip(*self.ends, strict=True) if self.ends else ((), (), ())
        if len(in_s) > MAX_STEPS or list(in_s) != sorted(in_s) or (in_s and not in_s[-1] <= MAX_IN_S):
            raise ValueError(
                f"planned ends must be at most {MAX_STEPS}, ascending, within {MAX_IN_S:g} s, found {in_s}"
            )
        sums = sum(sessions), sum(load_w)
        if sums != (self.sessions, self.load_w):
            raise ValueError(f"planned ends sum up to {sums}, not to {(self.sessions, self.load_w)}")


@functools.lru_cache(maxsize=32)
def _decoded(text: str) -> Report:
    """The report in `text`; answers of one moment bring the same again and again."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"not a grid report: {text[:80]!r}")
    epoch, seq, sessions, load_w, most, capacity, draining, ends = found.groups()
    numbers = ends.replace(":", ",").split(",") if ends else []
    report = Report(
        epoch=int(epoch),
        seq=int(seq),
        sessions=int(sessions),
        load_w=int(load_w),
        max_sessions=int(most),
        capacity_w=None if capacity == "-" else int(capacity),
        ends=steps_of(map(float, numbers[::3]), map(int, numbers[1::3]), map(int, numbers[2::3])),
        draining=draining == "1",
    )
    report.check()
    return report


def gather(ends: Sequence[tuple[Any, ...]], most: int = MAX_STEPS, watts_at: int = 1) -> tuple[Step, ...]:
    """Planned ends, as (grid seconds, watts) ascending, in at most `most` (2 or more) steps of about equal size.

    `watts_at` is where the watts of an element stand, if elsewhere.

    The first step is exact; every other one stands at the earliest end that it holds, so that nobody believes a place
    taken any longer than it is. Sums are kept. Where there are few distinct ends each is a step.
    """
    starts = _first_starts(ends, most + 1)
    if len(starts) > most:
        size = math.ceil((len(ends) - starts[1]) / (most - 1))
        equal = (bisect_left(ends, ends[at][0], key=_IN_S) for at in range(starts[1], len(ends), size))
        starts = [0, *dict.fromkeys(equal)]
    parts = list(pairwise([*starts, len(ends)]))
    in_s = [ends[start][0] for start, _ in parts]
    loads_w: list[int] = [end[watts_at] for end in ends]
    return steps_of(in_s, [stop - start for start, stop in parts], [sum(loads_w[start:stop]) for start, stop in parts])


def _first_starts(ends: Sequence[tuple[Any, ...]], most: int) -> list[int]:
    """Where the first `most` distinct instants begin."""
    starts: list[int] = []
    at = 0
    while at < len(ends) and len(starts) < most:
        starts.append(at)
        in_s = ends[at][0]
        at += 1
        if at < len(ends) and ends[at][0] == in_s:  # what came together ends together, and may be many
            at = bisect_right(ends, in_s, at, key=_IN_S)
    return starts
