"""What an account counts beside the newest report: planned ends, and sessions that are in no report yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from config.report import Step


class Release(NamedTuple):
    """`sessions` of together `load_w` watts end at `at_s`; `since_s`: when an own send without report was confirmed."""

    at_s: float
    sessions: int
    load_w: int
    since_s: float = 0.0


class Assumption:
    """A session that was sent at `since_s` and is in no report yet; `unknown_since_s`: when its answer was given up."""

    __slots__ = ("power_w", "since_s", "unknown_since_s")

    def __init__(self, power_w: int, since_s: float) -> None:
        self.power_w = power_w
        self.since_s = since_s
        self.unknown_since_s: float | None = None


def releases_of(ends: Iterable[Step], made_s: float, time_scale: float) -> list[Release]:
    """The planned `ends` of a report that was made at `made_s`: up to 16, with each message of answers."""
    return [_new(Release, (made_s + in_s / time_scale, sessions, load_w, 0.0)) for in_s, sessions, load_w in ends]


_new = tuple.__new__  # a named tuple's own is in Python, and takes three times as long


def first_fit_s(
    releases: Iterable[Release], sessions: int, load_w: int, now_s: float, fits: Callable[[int, int], bool]
) -> float | None:
    """When it `fits` first where `sessions` of together `load_w` run now, by planned ends; None where they do not tell."""
    if fits(sessions, load_w):
        return now_s
    for release in sorted(releases):
        sessions -= release.sessions
        load_w -= release.load_w
        if fits(sessions, load_w):
            return release.at_s
    return None
