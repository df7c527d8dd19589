"""What a substation writes down, and how it is read again: sessions, revocations, its runs and limits.

Must not know admission, HTTP or timers. `*_s` are grid seconds of the substation, `*_unix_s` Unix seconds.
"""

from __future__ import annotations

from services.journal import Schema

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
