"""Recorded charging sessions from a CSV file, made into arrivals; must not know HTTP or clusters.

The file has the columns `session_id,site,arrival,departure,energy_kwh,max_power_kw`: local ISO 8601 times without a
zone, kWh, kW. An empty power means that the source does not say. `session_id` need not be unique.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path

from config.errors import Fault, Invalid
from gridctl.loadtest.arrivals import Arrival

COLUMNS = ("session_id", "arrival", "departure", "energy_kwh", "max_power_kw")
#: The charger power assumed where the file has none: a single-phase 32 A wall box (kW).
DEFAULT_POWER_KW = 7.4
DAY_S = 86400.0
FAULTS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded session; `power_kw` is None where the source does not say."""

    session_id: str
    arrival: datetime
    departure: datetime
    energy_kwh: float
    power_kw: float | None


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a trace to play: `start` ≤ arrival < `end`, both moments or both times of day, or None (open).

    A time-of-day window that ends before it begins goes over midnight.
    """

    start: datetime | time | None = None
    end: datetime | time | None = None

    def holds(self, moment: datetime) -> bool:
        """Whether a session that arrives at `moment` is played."""
        if isinstance(self.start, time) or isinstance(self.end, time):
            length = (_second(self.end) - _second(self.start)) % DAY_S or DAY_S
            return (_second(moment.time()) - _second(self.start)) % DAY_S < length
        return (self.start is None or moment >= self.start) and (self.end is None or moment < self.end)

    @property
    def day_starts_s(self) -> float:
        """The second of the day at which a folded day begins."""
        return _second(self.start) if isinstance(self.start, time) else 0.0


def _second(moment: datetime | time | None) -> float:
    """Seconds since midnight; None is midnight."""
    if moment is None:
        return 0.0
    return moment.hour * 3600 + moment.minute * 60 + moment.second + moment.microsecond / 1e6


def read(path: Path) -> list[Recorded]:
    """Every session of the file in the order of arrival; Invalid naming each bad row's line and column."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            sessions, faults = _rows(str(path), lines)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        fault = Fault("--replay", 0, "FILE", f"{path}: {error}", "a CSV file that can be read")
        raise Invalid(f"cannot replay {path}", faults=[fault]) from error
    if faults:
        more = len(faults) - FAULTS_SHOWN
        hint = f"and {more} more bad values" if more > 0 else "correct these lines, or leave them out"
        raise Invalid(f"cannot replay {path}: {len(faults)} bad values", hint, faults[:FAULTS_SHOWN])
    return sorted(sessions, key=lambda session: session.arrival)


def _rows(where: str, lines: Iterable[str]) -> tuple[list[Recorded], list[Fault]]:
    rows = csv.DictReader(lines)
    missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
    if missing:
        found = ",".join(rows.fieldnames or ()) or "no header"
        return [], [Fault(where, 1, ", ".join(missing), found, f"the columns {','.join(COLUMNS)}")]
    sessions: list[Recorded] = []
    faults: list[Fault] = []
    for row in rows:
        made, wrong = _row(where, rows.line_num, row)
        faults += wrong
        if made is not None:
            sessions.append(made)
    return sessions, faults


def _row(where: str, line: int, row: dict[str, str | None]) -> tuple[Recorded | None, list[Fault]]:
    values = {column: (row[column] or "").strip() for column in COLUMNS}
    faults: list[Fault] = []

    def fault(column: str, allowed: str) -> None:
        faults.append(Fault(where, line, column, repr(values[column]), allowed))

    arrival, departure = _moment(values["arrival"]), _moment(values["departure"])
    energy_kwh, power_kw = _positive(values["energy_kwh"]), _positive(values["max_power_kw"])
    if arrival is None:
        fault("arrival", "a local ISO time such as 2020-01-15T17:05:00")
    if departure is None or (arrival is not None and departure <= arrival):
        fault("departure", "a local ISO time after the arrival")
    if energy_kwh is None:
        fault("energy_kwh", "a number above 0")
    if values["max_power_kw"] and power_kw is None:
        fault("max_power_kw", "a number above 0, or nothing")
    if faults or arrival is None or departure is None or energy_kwh is None:
        return None, faults
    return Recorded(values["session_id"], arrival, departure, energy_kwh, power_kw), []


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is None else None


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def arrivals(
    sessions: Sequence[Recorded], window: Window, speed: float, time_scale: float, fold_days: bool = False
) -> Iterator[Arrival]:
    """The sessions inside `window`, in order, the first at second 0.

    `speed` is trace seconds per wall second, `time_scale` grid seconds per wall second. A session of t trace seconds
    takes t / speed wall seconds, that is t · time_scale / speed grid seconds: with its energy scaled alike it draws the
    recorded power for that long, so as many sessions charge at once as in the trace. With `fold_days` all days are
    laid over each other.
    """
    placed = sorted(_placed(sessions, window, fold_days), key=lambda pair: pair[0])
    scale = time_scale / speed
    for at_s, session in placed:
        charge = {
            "energy_kwh": session.energy_kwh * scale,
            "power_kw": session.power_kw or DEFAULT_POWER_KW,
            "departure_in_s": (session.departure - session.arrival) / timedelta(seconds=1) * scale,
        }
        yield Arrival((at_s - placed[0][0]) / speed, charge, session.session_id)


def _placed(sessions: Sequence[Recorded], window: Window, fold_days: bool) -> Iterator[tuple[float, Recorded]]:
    """Each session of the window with its second on the trace's axis."""
    origin = min((session.arrival for session in sessions), default=datetime.min)  # noqa: DTZ901 - local times
    for session in sessions:
        if not window.holds(session.arrival):
            continue
        if fold_days:
            yield (_second(session.arrival.time()) - window.day_starts_s) % DAY_S, session
        else:
            yield (session.arrival - origin) / timedelta(seconds=1), session
