"""What a balancer must not forget: revocations, attempts of unknown outcome, its queue. Must not know HTTP or the ledger.

All `*_s` in it are Unix seconds. `read` shows a journal to others, also while its balancer writes it.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from services.journal import Entry, Journal, JournalError, OpenJournal, Schema
from services.journalfile import open_to_read, rows

#: What is over stays readable until so many more of its kind are over.
KEPT = 100_000
#: How often that is looked at: once in so many.
_PRUNED_EACH = 1_000

SCHEMA = Schema(
    kind="the journal of a balancer",
    application_id=0x67726C62,
    version=1,
    tables="""
    CREATE TABLE attempts (
        substation TEXT NOT NULL, request_id TEXT NOT NULL, attempt INTEGER NOT NULL,
        sent_s REAL NOT NULL, revoked_s REAL, acknowledged_s REAL,
        PRIMARY KEY (request_id, substation)
    ) WITHOUT ROWID;
    CREATE INDEX acknowledged ON attempts (acknowledged_s) WHERE acknowledged_s IS NOT NULL;
    CREATE TABLE queue (
        request_id TEXT PRIMARY KEY, ev_id TEXT NOT NULL, number INTEGER NOT NULL, request TEXT NOT NULL,
        queued_s REAL NOT NULL, until_s REAL NOT NULL, state TEXT NOT NULL, reason TEXT, substation TEXT,
        attempt INTEGER, left_s REAL
    ) WITHOUT ROWID;
    CREATE INDEX over ON queue (left_s) WHERE left_s IS NOT NULL;
    """,
)

_SENT = """INSERT INTO attempts VALUES (?, ?, ?, ?, NULL, NULL)
    ON CONFLICT DO UPDATE SET attempt = excluded.attempt, sent_s = excluded.sent_s, revoked_s = NULL, acknowledged_s = NULL
    WHERE excluded.attempt > attempt"""
_SETTLED = "DELETE FROM attempts WHERE substation = ? AND request_id = ? AND attempt <= ? AND revoked_s IS NULL"
_REVOKED = """INSERT INTO attempts VALUES (?, ?, ?, ?, ?, NULL)
    ON CONFLICT DO UPDATE SET attempt = max(attempt, excluded.attempt),
    acknowledged_s = CASE WHEN excluded.attempt > attempt THEN NULL ELSE acknowledged_s END,
    revoked_s = coalesce(revoked_s, excluded.revoked_s)"""
_ACKNOWLEDGED = """UPDATE attempts SET acknowledged_s = ?
    WHERE substation = ? AND request_id = ? AND attempt <= ? AND revoked_s IS NOT NULL"""
_FORGOTTEN = """DELETE FROM attempts WHERE acknowledged_s <=
    (SELECT acknowledged_s FROM attempts WHERE acknowledged_s IS NOT NULL ORDER BY acknowledged_s DESC LIMIT 1 OFFSET ?)"""
_QUEUED = "INSERT OR REPLACE INTO queue VALUES (?, ?, ?, ?, ?, ?, 'queued', NULL, NULL, NULL, NULL)"
_LEFT = "UPDATE queue SET state = ?, reason = ?, substation = ?, attempt = ?, left_s = ? WHERE request_id = ?"
_INHERITED = """INSERT INTO queue VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?)
    ON CONFLICT DO UPDATE SET number = excluded.number, request = excluded.request, queued_s = excluded.queued_s,
    until_s = excluded.until_s, state = excluded.state, reason = excluded.reason, left_s = excluded.left_s
    WHERE state = 'moved'"""
_GONE = "DELETE FROM attempts WHERE request_id = ? AND substation = ?"
_PAST = """DELETE FROM queue WHERE left_s <=
    (SELECT left_s FROM queue WHERE left_s IS NOT NULL ORDER BY left_s DESC LIMIT 1 OFFSET ?)"""

#: How a request is in the queue, or left it: `placed` at a substation, which knows the rest, or `moved` to another
#: balancer, which had taken it up meanwhile.
QueueState = Literal["queued", "placed", "cancelled", "dropped", "moved"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt whose outcome was unknown for a while: `revoked_s` None: still is; else when its end was ordered.

    `acknowledged_s` is when the substation had heard that; attempts below `attempt` are revoked too.
    """

    substation: str
    request_id: str
    attempt: int
    sent_s: float
    revoked_s: float | None = None
    acknowledged_s: float | None = None


@dataclass(frozen=True, slots=True)
class Queued:
    """A request that was answered `queued`: its JSON, its place by arrival, until when it waits, and how it left.

    `reason` says why it was `dropped`; `substation` and `attempt` are known of one that was `placed`.
    """

    request_id: str
    ev_id: str
    number: int
    request: str
    queued_s: float
    until_s: float
    state: QueueState = "queued"
    reason: str | None = None
    substation: str | None = None
    attempt: int | None = None
    left_s: float | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a balancer's journal holds; the queue in the order of arrival."""

    attempts: tuple[Attempt, ...] = ()
    queue: tuple[Queued, ...] = ()

    @property
    def open(self) -> Contents:
        """What still is to be done or told, and stands nowhere else."""
        return Contents(
            tuple(attempt for attempt in self.attempts if attempt.acknowledged_s is None),
            tuple(row for row in self.queue if row.state in ("queued", "cancelled", "dropped")),
        )


def read(path: Path) -> Contents:
    """What stands in the journal `path`, which may be in use; FileNotFoundError, or JournalError where it is unusable."""
    with closing(open_to_read(path, SCHEMA)) as connection:
        return _contents(connection, path)


def _contents(connection: sqlite3.Connection, path: Path) -> Contents:
    attempts = rows(connection, path, "SELECT * FROM attempts ORDER BY sent_s, request_id, substation")
    queue = rows(connection, path, "SELECT * FROM queue ORDER BY number")
    order = ("substation", "request_id", "attempt", "sent_s", "revoked_s", "acknowledged_s")
    return Contents(
        tuple(Attempt(**dict(zip(order, row, strict=True))) for row in attempts),
        tuple(Queued(*row) for row in queue),
    )


class BalancerJournal:
    """The writing side. Without a path everything is kept in memory only, and nothing survives.

    What returns None is written soon and kept until it can be; what is awaited raises JournalError where it cannot.
    """

    def __init__(
        self, path: str | None, durability: str, unix_s: Callable[[], float], open_journal: OpenJournal = Journal
    ) -> None:
        self._journal = None if path is None else open_journal(Path(path), SCHEMA, durability)
        self._unix_s = unix_s
        self._over: Counter[str] = Counter()

    @property
    def error(self) -> JournalError | None:
        """Why nothing can be written at present."""
        return None if self._journal is None else self._journal.error

    async def load(self) -> Contents:
        """What former runs left; JournalError where that cannot be read."""
        journal = self._journal
        if journal is None or not journal.exists:
            return Contents()
        return await journal.read(lambda connection: _contents(connection, journal.path))

    async def close(self) -> None:
        """Writes what waits and lets go of the file."""
        if self._journal is not None:
            await self._journal.close()

    def sent(self, substation: str, request_id: str, attempt: int) -> None:
        """`attempt` is on its way to `substation`, or there: nobody knows."""
        self._write((_SENT, (substation, request_id, attempt, self._unix_s())))

    def settled(self, substation: str, request_id: str, attempt: int) -> None:
        """What became of `attempt` is known."""
        self._write((_SETTLED, (substation, request_id, attempt)))

    def revoked(self, substation: str, request_id: str, attempt: int) -> None:
        """Attempts up to `attempt` shall end at `substation`."""
        now_s = self._unix_s()
        self._write((_REVOKED, (substation, request_id, attempt, now_s, now_s)))

    def acknowledged(self, substation: str, request_id: str, attempt: int) -> None:
        """`substation` has heard of the revocation."""
        self._write((_ACKNOWLEDGED, (self._unix_s(), substation, request_id, attempt)), *self._prune(_FORGOTTEN))

    async def queued(self, place: Queued) -> None:
        """`place` is taken in the queue once this returns; JournalError: it is not."""
        values = (place.request_id, place.ev_id, place.number, place.request, place.queued_s, place.until_s)
        if self._journal is not None:
            await self._journal.commit((_QUEUED, values))

    async def inherit(self, found: Contents) -> None:
        """What another balancer left is kept here too once this returns; JournalError: it is not."""
        entries: list[Entry] = []
        for row in found.queue:
            about = (row.request_id, row.ev_id, row.number, row.request, row.queued_s, row.until_s)
            entries.append((_INHERITED, (*about, row.state, row.reason, row.left_s)))
        for attempt in found.attempts:
            which = (attempt.substation, attempt.request_id, attempt.attempt, attempt.sent_s)
            revoked = attempt.revoked_s is not None
            entries.append((_REVOKED, (*which, attempt.revoked_s)) if revoked else (_SENT, which))
        await self._commit(entries)

    async def pass_on(self, found: Contents) -> None:
        """Another balancer has `found`, which stands here, once this returns; JournalError: that is not noted."""
        now_s = self._unix_s()
        entries: list[Entry] = [
            (_LEFT, ("moved", row.reason, None, None, now_s, row.request_id)) for row in found.queue
        ]
        entries += [(_GONE, (attempt.request_id, attempt.substation)) for attempt in found.attempts]
        await self._commit(entries)

    async def _commit(self, entries: list[Entry]) -> None:
        if self._journal is not None and entries:
            await self._journal.commit(*entries)

    def left(
        self, request_id: str, state: QueueState, reason: str | None = None, at: tuple[str, int] | None = None
    ) -> None:
        """`request_id` left the queue; `at`: substation and attempt of one that was placed, which is then settled too."""
        substation, attempt = at or (None, None)
        entries: list[Entry] = [(_LEFT, (state, reason, substation, attempt, self._unix_s(), request_id))]
        if at is not None:
            entries.append((_SETTLED, (substation, request_id, attempt)))
        self._write(*entries, *self._prune(_PAST))

    async def survives(self) -> None:
        """Until all that was written before is safe; JournalError where it is not, though it is kept for later."""
        if self._journal is not None:
            await self._journal.commit()

    def _prune(self, statement: str) -> list[Entry]:
        self._over[statement] += 1
        return [(statement, (KEPT,))] if self._over[statement] % _PRUNED_EACH == 0 else []

    def _write(self, *entries: Any) -> None:
        if self._journal is not None:
            self._journal.write(*entries)
