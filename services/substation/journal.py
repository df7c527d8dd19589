"""What a substation writes down, and how it is read again: sessions, revocations, its runs and limits.

Must not know admission, HTTP or timers. `*_s` are grid seconds of the substation, `*_unix_s` Unix seconds.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.clock import Anchor, Clock
from services.journal import Entry, Schema
from services.journalfile import EmptyJournal, explained, open_to_read
from services.substation.session import Session, State

SCHEMA = Schema(
    "a substation's journal",
    0x67726473,  # "grds"
    1,
    """
    CREATE TABLE sessions (
        number INTEGER PRIMARY KEY,
        request_id TEXT NOT NULL,
        ev_id TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        power_w INTEGER NOT NULL,
        started_s REAL NOT NULL,
        ends_s REAL NOT NULL,
        started_unix_s REAL NOT NULL,
        ended_s REAL,
        ended_unix_s REAL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL
    );
    CREATE TABLE revocations (request_id TEXT PRIMARY KEY, attempt INTEGER NOT NULL, unix_s REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY,
        epoch INTEGER NOT NULL,
        unix_s REAL NOT NULL,
        grid_s REAL NOT NULL,
        time_scale REAL NOT NULL,
        machine TEXT NOT NULL,
        monotonic_s REAL NOT NULL
    );
    CREATE TABLE limits (
        number INTEGER PRIMARY KEY,
        unix_s REAL NOT NULL,
        grid_s REAL NOT NULL,
        max_sessions INTEGER NOT NULL,
        capacity_w INTEGER,
        admitting INTEGER NOT NULL,
        hard_limit INTEGER NOT NULL
    );
    """,
)


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One row of `sessions`; `ended_s` and `ended_unix_s` are None where no end was written."""

    number: int
    request_id: str
    ev_id: str
    attempt: int
    power_w: int
    started_s: float
    ends_s: float
    started_unix_s: float
    ended_s: float | None
    ended_unix_s: float | None
    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the substation's process: its epoch, and where the clocks stood when it took up its work."""

    epoch: int
    unix_s: float
    grid_s: float
    time_scale: float
    machine: str
    monotonic_s: float

    @property
    def anchor(self) -> Anchor:
        """From where grid time goes on."""
        return Anchor(self.unix_s, self.grid_s, self.time_scale, self.machine, self.monotonic_s)


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """From `unix_s` on this was the limit; `admitting` False: no new session was taken (draining, ending)."""

    unix_s: float
    grid_s: float
    max_sessions: int
    capacity_w: int | None
    admitting: bool
    hard_limit: bool


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a substation's journal holds.

    `sessions` in the order of their ends, those without one last; `revocations` are (request_id, attempt, Unix time) in the
    order of their times; `runs` and `limits` the oldest first.
    """

    sessions: tuple[SessionRecord, ...]
    revocations: tuple[tuple[str, int, float], ...]
    runs: tuple[Run, ...]
    limits: tuple[LimitRecord, ...]


def contents(connection: sqlite3.Connection) -> Contents:
    """What the open journal holds; sqlite3.Error where it is damaged."""

    def table(name: str, order: str) -> list[tuple[Any, ...]]:
        return connection.execute(f"SELECT * FROM {name} ORDER BY {order}").fetchall()  # noqa: S608 - our own words

    return Contents(
        tuple(SessionRecord(*row) for row in table("sessions", "ended_s IS NULL, ended_s, number")),
        tuple(row for row in table("revocations", "unix_s")),
        tuple(Run(*row[1:]) for row in table("runs", "number")),
        tuple(
            LimitRecord(unix_s, grid_s, most, capacity_w, bool(admitting), bool(hard))
            for _, unix_s, grid_s, most, capacity_w, admitting, hard in table("limits", "number")
        ),
    )


def read(path: Path) -> Contents:
    """What the journal at `path` holds, also while its substation writes it, as of one instant.

    FileNotFoundError where there is none, JournalError where it cannot be read.
    """
    connection = open_to_read(path, SCHEMA)
    try:
        connection.execute("BEGIN")
        return contents(connection)
    except sqlite3.Error as error:
        raise explained(error, path) from error
    finally:
        connection.close()


def last_end_unix_s(path: Path) -> float | None:
    """When the last of the sessions in the journal at `path` that have no end written is planned to end; None without any.

    None too where nothing was ever written to it. JournalError where it cannot be read.
    """
    try:
        connection = open_to_read(path, SCHEMA)
    except EmptyJournal:
        return None
    try:
        end_s: float | None = connection.execute(_LAST_END).fetchone()[0]
    except sqlite3.Error as error:
        raise explained(error, path) from error
    finally:
        connection.close()
    return end_s


# grid seconds are so many of wall time as in the last run
_LAST_END = """
    SELECT max(started_unix_s + (ends_s - started_s)
        / coalesce((SELECT time_scale FROM runs ORDER BY number DESC LIMIT 1), 1.0))
    FROM sessions WHERE state = 'charging'"""

# What is written; each is one entry for `services.journal.Journal`.
_STARTED = "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, 'charging', '')"
_PASSED = "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ENDED_AS_PLANNED = (
    "UPDATE sessions SET ended_s = ends_s, ended_unix_s = ?, state = 'ended', reason = '' WHERE number = ?"
)
_ENDED = "UPDATE sessions SET ended_s = ?, ended_unix_s = ?, state = ?, reason = ? WHERE number = ?"
_ATTEMPTED = "UPDATE sessions SET attempt = ? WHERE number = ?"
_GONE = "DELETE FROM sessions WHERE number = ?"
_REVOKED = """INSERT INTO revocations VALUES (?, ?, ?)
    ON CONFLICT (request_id) DO UPDATE SET attempt = max(attempt, excluded.attempt), unix_s = excluded.unix_s"""
_UNREVOKED = "DELETE FROM revocations WHERE request_id = ?"
_RUN = "INSERT INTO runs (epoch, unix_s, grid_s, time_scale, machine, monotonic_s) VALUES (?, ?, ?, ?, ?, ?)"
_OLD_RUNS = "DELETE FROM runs WHERE number <= (SELECT max(number) FROM runs) - 10000"
_OLD_LIMITS = "DELETE FROM limits WHERE number <= (SELECT max(number) FROM limits) - 10000"
_LIMITED = """INSERT INTO limits (unix_s, grid_s, max_sessions, capacity_w, admitting, hard_limit)
    VALUES (?, ?, ?, ?, ?, ?)"""


def started(session: Session, clock: Clock) -> Entry:
    """`session` as it is now, not yet written."""
    unix_s = session.started_unix_s
    begun = (
        session.number,
        session.request_id,
        session.ev_id,
        session.attempt,
        session.power_w,
        session.started_s,
        session.ends_s,
        clock.unix_s(session.started_s) if unix_s is None else unix_s,
    )
    if session.state == "charging":
        return _STARTED, begun
    return _PASSED, (*begun, *_end(session, clock))


def ended(session: Session, clock: Clock) -> Entry:
    """The end of `session`, which was written when it started."""
    if session.state == "ended":
        return _ENDED_AS_PLANNED, (clock.unix_s(session.ends_s), session.number)
    return _ENDED, (*_end(session, clock), session.number)


def _end(session: Session, clock: Clock) -> tuple[float | None, float | None, State, str]:
    ended_s = session.ended_s
    return ended_s, None if ended_s is None else clock.unix_s(ended_s), session.state, session.reason


def attempted(session: Session) -> Entry:
    """`session` now counts as of a higher attempt."""
    return _ATTEMPTED, (session.attempt, session.number)


def gone(number: int) -> Entry:
    """The session `number` is not to be remembered."""
    return _GONE, (number,)


def revoked(request_id: str, attempt: int, unix_s: float) -> Entry:
    """Attempts up to `attempt` of `request_id` stay out."""
    return _REVOKED, (request_id, attempt, unix_s)


def unrevoked(request_id: str) -> Entry:
    """The revocation of `request_id` is not to be remembered."""
    return _UNREVOKED, (request_id,)


def run(this: Run) -> tuple[Entry, ...]:
    """This run took up its work; the oldest runs and limits are not to be remembered."""
    values = (this.epoch, this.unix_s, this.grid_s, this.time_scale, this.machine, this.monotonic_s)
    return (_RUN, values), (_OLD_RUNS, ()), (_OLD_LIMITS, ())


def limited(record: LimitRecord) -> Entry:
    """These limits hold from now on."""
    values = (record.unix_s, record.grid_s, record.max_sessions, record.capacity_w)
    return _LIMITED, (*values, int(record.admitting), int(record.hard_limit))
