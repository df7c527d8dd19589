"""One SQLite file that holds a journal: opened, checked, written; blocking. Must not know event loops or what is in it.

Nothing is ever overwritten: a file that is damaged, of another kind or from a newer gridctl is left as it is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from services.folders import make_folder, sync_folder
from services.journalimage import image, lay_down

#: Why a journal cannot be used; the last two will not pass by themselves.
JournalReason = Literal[
    "journal-full", "journal-read-only", "journal-busy", "journal-failed", "journal-corrupt", "journal-newer"
]
#: A statement and its values.
Entry = tuple[str, tuple[Any, ...]]

#: Whoever holds a lock (a reader that checkpoints) is waited for at most this long (wall seconds).
BUSY_S = 5.0
#: A log of writes that grew beyond this many bytes shrinks again.
_WAL_BYTES = 16 << 20
#: How SQLite must write so that a commit survives what `durability` names; in WAL mode `NORMAL` syncs at checkpoints
#: only, so a power cut costs the newest commits and never the file (https://www.sqlite.org/pragma.html#pragma_synchronous).
_SYNCHRONOUS = {"fsync": "FULL", "process": "NORMAL"}


class JournalError(Exception):
    """A journal cannot be used: `reason` for programs, `detail` says for people what was found and what to do."""

    def __init__(self, reason: JournalReason, detail: str) -> None:
        super().__init__(detail)
        self.reason: JournalReason = reason
        self.detail = detail

    @property
    def lasting(self) -> bool:
        """Whether only somebody's hand mends it, and a restart then."""
        return self.reason in ("journal-corrupt", "journal-newer")


class EmptyJournal(JournalError):
    """A process ended before it wrote anything to this journal: there is nothing to read, and nothing was lost."""

    def __init__(self, path: Path) -> None:
        super().__init__("journal-corrupt", f"{path} is empty: its process ended before it wrote anything")


@dataclass(frozen=True, slots=True)
class Schema:
    """What a journal holds: `kind` in words, `application_id` in the file's header, `version`, the SQL of its tables."""

    kind: str
    application_id: int
    version: int
    tables: str

    def prepare(self) -> bytes:
        """A new file that holds nothing yet; made at the first call, and shared with who is forked then."""
        return image(self.application_id, self.version, self.tables)


@dataclass(slots=True)
class JournalFile:
    """One journal for one writer, opened when first used; not for two threads at once.

    `held` is the descriptor of its lock where this process has it already; `sync` syncs a folder. Every method
    but `close` may raise JournalError.
    """

    path: Path
    schema: Schema
    durability: str = "fsync"
    held: int | None = None
    sync: Callable[[Path], None] = sync_folder
    _connection: sqlite3.Connection | None = None
    _waits: bool = True
    _lock: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether the file was opened and is good."""
        return self._connection is not None

    def wait_for_others(self, wait: bool) -> None:
        """Whether what finds the file locked by another process waits for it, for a while, or fails at once."""
        if self._connection is not None and wait != self._waits:
            self._connection.execute(f"PRAGMA busy_timeout = {int(1000 * BUSY_S) if wait else 0}")
            self._waits = wait

    def connection(self) -> sqlite3.Connection:
        """The open database, in autocommit mode, checked and with its tables."""
        if self._connection is None:
            try:
                self._open()
            except JournalError:
                self.close()
                raise
            except (sqlite3.Error, OSError) as error:
                self.close()
                raise explained(error, self.path) from error
        return self._connection  # type: ignore[return-value]  # _open has set it

    def write(self, entries: Iterable[Entry]) -> None:
        """All of `entries`, in order, in one transaction that survives what `durability` names; or none of them."""
        with self._transaction() as connection:
            for statement, alike in groupby(entries, key=itemgetter(0)):
                connection.executemany(statement, map(itemgetter(1), alike))

    def touch(self) -> None:
        """Write what stands there already: says whether writing works."""
        with self._transaction() as connection:
            connection.execute(f"PRAGMA user_version = {self.schema.version}")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self.connection()
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise explained(error, self.path) from error

    def close(self) -> None:
        """Let go of the file; never raises."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _open(self) -> None:
        self._make_folder()
        self._take_lock()
        made = lay_down(self.path, self.schema.prepare())
        uri = f"file:{quote(str(self.path.absolute()))}?mode=rwc"
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        self._connection, self._waits = connection, True
        fresh = not made and check(connection, self.path, self.schema)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise JournalError("journal-failed", f"{self.path}: SQLite cannot use WAL here; put it on a local disk")
        connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[self.durability]}")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        if fresh:
            self._create(connection)
        if (made or fresh) and self.durability == "fsync":  # whoever made its folder may have died before it said so
            self.sync(self.path.absolute().parent.parent)

    def _create(self, connection: sqlite3.Connection) -> None:
        header = f"PRAGMA application_id = {self.schema.application_id}; PRAGMA user_version = {self.schema.version}"
        try:
            connection.executescript(f"BEGIN IMMEDIATE; {self.schema.tables}; {header}; COMMIT")
        except sqlite3.Error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _make_folder(self) -> None:
        folder = self.path.absolute().parent
        if self.durability == "fsync":
            make_folder(folder, self.sync)
        else:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _take_lock(self) -> None:
        """One writer at a time: a killed one may still be ending, and its sessions are this one's."""
        if self.held is not None:  # a duplicate shares the lock, and closing it does not end it
            self._lock = os.dup(self.held)
            return
        lock = os.open(lock_path(self.path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            detail = f"{self.path}: another process writes this journal; stop it, or name another file"
            raise JournalError("journal-busy", detail) from error
        self._lock = lock


def lock_path(path: Path) -> Path:
    """The file whose lock says that a process owns the journal `path`."""
    return path.with_name(f"{path.name}.lock")


def check(connection: sqlite3.Connection, path: Path, schema: Schema) -> bool:
    """Whether the database is new and empty; JournalError where it is damaged, of another kind or of a newer version."""
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application_id == version == 0 and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return True
    if application_id != schema.application_id:
        raise JournalError("journal-corrupt", f"{path} is not {schema.kind}; move it away, then restart")
    if version > schema.version:
        detail = f"{path} was written by a newer gridctl (schema {version}, this one knows {schema.version})"
        raise JournalError("journal-newer", f"{detail}; use that gridctl, or move the file away, then restart")
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _damaged(path, str(found))
    return False


def _damaged(path: Path, found: str) -> JournalError:
    found = " ".join(found.split())
    detail = f"{path} is damaged ({found[:120]}); nothing was changed in it"
    return JournalError("journal-corrupt", f"{detail}; put a copy back or move it away, then restart")


def explained(error: sqlite3.Error | OSError, path: Path) -> JournalError:
    """What `error`, met at the journal `path`, means, and what to do about it."""
    code = getattr(error, "sqlite_errorcode", None)
    code = None if code is None else code & 0xFF  # extended codes keep the primary one in their low byte
    number = getattr(error, "errno", None)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(path, str(error))
    if code == sqlite3.SQLITE_FULL or number in (errno.ENOSPC, errno.EDQUOT) or _no_room(path):
        return JournalError("journal-full", f"no room to write {path}; free some space, then it goes on by itself")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return JournalError("journal-busy", f"{path} is locked by another process; end that one, then it goes on")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM) or isinstance(error, OSError):
        detail = f"{path} cannot be written ({error}); make its folder writable, then it goes on by itself"
        return JournalError("journal-read-only", detail)
    return JournalError("journal-failed", f"{path} cannot be written ({error}); look at the disk, then restart")


def _no_room(path: Path) -> bool:
    try:
        disk = os.statvfs(path.absolute().parent)
    except OSError:
        return False
    return disk.f_blocks > 0 and disk.f_bavail == 0


def open_to_read(path: Path, schema: Schema) -> sqlite3.Connection:
    """A read-only view of the journal `path`, also while its process writes it; JournalError where it cannot be read.

    FileNotFoundError where there is none. Close it when done: a long transaction keeps the writer's log from shrinking.
    """
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    try:
        return _open_to_read(path, schema, "mode=ro")
    except JournalError as error:
        if error.reason != "journal-read-only" or Path(f"{path}-wal").exists():
            raise
    return _open_to_read(path, schema, "mode=ro&immutable=1")  # in a folder that cannot be written


def _open_to_read(path: Path, schema: Schema, option: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{option}", uri=True, timeout=BUSY_S)
    try:
        empty = check(connection, path, schema)
    except JournalError:
        connection.close()
        raise
    except sqlite3.Error as error:
        connection.close()
        raise explained(error, path) from error
    if empty:
        connection.close()
        raise EmptyJournal(path)
    return connection


def rows(
    connection: sqlite3.Connection, path: Path, statement: str, values: Sequence[Any] = ()
) -> list[tuple[Any, ...]]:
    """What `statement` selects; JournalError where the file is damaged there."""
    try:
        return connection.execute(statement, values).fetchall()
    except sqlite3.Error as error:
        raise explained(error, path) from error
