"""What the user's flags ask for, checked as a whole, and the arrivals that come of it. Must not know HTTP or clusters."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from random import Random
from typing import Any, Literal, TypeVar

from config.errors import Fault, Invalid
from gridctl.loadtest import pacing, quantities, trace
from gridctl.loadtest.arrivals import Arrival
from gridctl.loadtest.pacing import Pace
from gridctl.loadtest.profiles import PROFILES, Profile

DEFAULT_RATE = 0.5
DEFAULT_DURATION_S = 300.0
WINDOW_RULE = "HH:MM, or an ISO moment such as 2020-01-15T15:00"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Flags:
    """What was typed, unread: None where a flag was not given. See `gridctl loadtest --help` for each."""

    rate: str | None = None
    duration: str | None = None
    stages: str | None = None
    arrivals: Literal["uniform", "poisson"] = "uniform"
    burst: int | None = None
    profile: str | None = None
    replay: Path | None = None
    speed: float | None = None
    fold_days: bool = False
    start: str | None = None
    end: str | None = None
    wall: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """The arrivals of a run in order of time, all times in wall seconds.

    `expected` is how many they are (on average, for Poisson ones); `rate_per_s` is the rate where it is constant and
    nothing else arrives, else None.
    """

    arrivals: Callable[[], Iterator[Arrival]]
    expected: float
    duration_s: float
    rate_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Flags that were read and found right."""

    flags: Flags
    pace: Pace | None
    profile: Profile | None
    recorded: tuple[trace.Recorded, ...]
    window: trace.Window

    def scenario(self, time_scale: float, seed: int) -> Scenario:
        """The arrivals at `time_scale` (grid seconds per wall second); the same seed gives the same ones."""
        parts = [part for part in (self._paced(time_scale, seed), self._replayed(time_scale), self._burst()) if part]
        if len(parts) == 1:
            return parts[0]
        return Scenario(
            lambda: heapq.merge(*(part.arrivals() for part in parts), key=lambda arrival: arrival.at_s),
            sum(part.expected for part in parts),
            max(part.duration_s for part in parts),
        )

    def _paced(self, time_scale: float, seed: int) -> Scenario | None:
        if self.pace is None:
            return None
        pace, profile = self.pace, self.profile
        faster = 1.0 if self.flags.wall else time_scale
        poisson = self.flags.arrivals == "poisson"

        def arrivals() -> Iterator[Arrival]:
            wants = Random(f"{seed}/wants")
            times = pacing.poisson(pace, Random(f"{seed}/times")) if poisson else pacing.uniform(pace)
            return (Arrival(at_s / faster, profile.sample(wants) if profile else {}) for at_s in times)

        rate = None if pace.constant_rate is None or profile else pace.constant_rate * faster
        return Scenario(arrivals, pace.arrivals, pace.duration_s / faster, rate)

    def _replayed(self, time_scale: float) -> Scenario | None:
        if not self.recorded:
            return None
        speed = self.flags.speed or time_scale
        made = list(trace.arrivals(self.recorded, self.window, speed, time_scale, self.flags.fold_days))
        return Scenario(lambda: iter(made), len(made), made[-1].at_s)

    def _burst(self) -> Scenario | None:
        size = self.flags.burst
        if size is None:
            return None
        return Scenario(lambda: (Arrival(at_s) for at_s in pacing.burst(size)), size, 0.0)


def read(flags: Flags) -> Plan:
    """The plan that `flags` ask for; Invalid with a fault for every flag that is wrong or does not go with another."""
    reader = _Reader()
    reader.check_combinations(flags)
    window = trace.Window(reader.moment("--from", flags.start), reader.moment("--until", flags.end))
    reader.check_window(flags, window)
    pace = _pace(flags, window, reader)
    if flags.burst is not None and flags.burst < 1:
        reader.fault("--burst", str(flags.burst), "1 or more")
    if flags.speed is not None and not 0 < flags.speed < float("inf"):
        reader.fault("--speed", str(flags.speed), "a number above 0: trace seconds per wall second")
    if reader.faults:
        raise Invalid("these flags cannot be used", "see `gridctl loadtest --help`", reader.faults)
    recorded = _recorded(flags, window)
    return Plan(flags, pace, PROFILES.get(flags.profile or ""), recorded, window)


def _pace(flags: Flags, window: trace.Window, reader: _Reader) -> Pace | None:
    """The pace of rate, stages or profile; None where only a replay or a burst was asked for."""
    stages = reader.value("--stages", flags.stages, quantities.stages)
    rate = reader.positive("--rate", flags.rate, quantities.rate_per_s, quantities.RATE_RULE)
    duration = reader.positive("--duration", flags.duration, quantities.duration_s, quantities.DURATION_RULE)
    if stages is not None:
        return Pace(stages)
    if flags.profile is not None and flags.profile in PROFILES and not reader.faults:
        pace = PROFILES[flags.profile].pace(rate or DEFAULT_RATE, _day_second(window.start), _day_second(window.end))
        return pace if duration is None else pace.cut(duration)
    if flags.replay is not None or (flags.burst is not None and flags.rate is None and flags.duration is None):
        return None
    return pacing.constant(rate or DEFAULT_RATE, duration or DEFAULT_DURATION_S)


def _day_second(moment: datetime | time | None) -> float | None:
    return moment.hour * 3600.0 + moment.minute * 60.0 + moment.second if isinstance(moment, time) else None


def _recorded(flags: Flags, window: trace.Window) -> tuple[trace.Recorded, ...]:
    if flags.replay is None:
        return ()
    sessions = tuple(session for session in trace.read(flags.replay) if window.holds(session.arrival))
    if sessions:
        return sessions
    asked = " ".join(text for text in (flags.start, flags.end) if text) or "no window"
    fault = Fault("--replay", 0, str(flags.replay), f"no session ({asked})", "a file and window with at least one")
    raise Invalid("nothing to replay", "widen --from and --until", [fault])


class _Reader:
    """Reads texts of flags and gathers what is wrong."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def fault(self, flag: str, found: str, allowed: str) -> None:
        self.faults.append(Fault(flag, 0, flag.lstrip("-"), found, allowed))

    def value(self, flag: str, text: str | None, read: Callable[[str], T]) -> T | None:
        if text is None:
            return None
        try:
            return read(text)
        except ValueError as error:
            self.fault(flag, repr(text), str(error))
            return None

    def positive(self, flag: str, text: str | None, read: Callable[[str], float], rule: str) -> float | None:
        value = self.value(flag, text, read)
        if value is not None and value <= 0:
            self.fault(flag, repr(text), rule)
            return None
        return value

    def moment(self, flag: str, text: str | None) -> datetime | time | None:
        return self.value(flag, text, _moment)

    def check_combinations(self, flags: Flags) -> None:
        given = [name for name in ("stages", "profile", "replay") if getattr(flags, name) is not None]
        if len(given) > 1:
            self.fault(f"--{given[1]}", f"given with --{given[0]}", "one of --stages, --profile and --replay")
        for flag, without in _CONFLICTS.items():
            for other in without:
                if _given(flags, flag) and _given(flags, other):
                    self.fault(_spelled(flag), f"given with {_spelled(other)}", f"only without {_spelled(other)}")
        for flag, needs in _NEEDS.items():
            if _given(flags, flag) and not any(_given(flags, other) for other in needs):
                allowed = " or ".join(_spelled(other) for other in needs)
                self.fault(_spelled(flag), "given alone", f"only with {allowed}")

    def check_window(self, flags: Flags, window: trace.Window) -> None:
        ends: Iterable[Any] = [end for end in (window.start, window.end) if end is not None]
        kinds = {type(end) for end in ends}
        if len(kinds) > 1:
            self.fault("--until", f"{flags.start} … {flags.end}", "both HH:MM, or both ISO moments")
        elif datetime in kinds and flags.profile is not None:
            self.fault("--from", f"{flags.start} … {flags.end}", "HH:MM with --profile")


_CONFLICTS = {
    "rate": ("stages", "replay"),
    "duration": ("stages", "replay"),
    "wall": ("replay",),
}
_NEEDS = {
    "speed": ("replay",),
    "fold_days": ("replay",),
    "start": ("replay", "profile"),
    "end": ("replay", "profile"),
}


def _given(flags: Flags, name: str) -> bool:
    return getattr(flags, name) not in (None, False)


def _spelled(name: str) -> str:
    return "--" + {"start": "from", "end": "until"}.get(name, name.replace("_", "-"))


def _moment(text: str) -> datetime | time:
    text = text.strip()
    try:
        found = time.fromisoformat(text) if len(text) < 10 and ":" in text else datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(WINDOW_RULE) from error
    if found.tzinfo is not None:
        raise ValueError(f"{WINDOW_RULE}, without a zone")
    return found
