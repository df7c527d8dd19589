"""A journal for an event loop: everything that waits shares one transaction. Must not know what is written.

What comes while something is written gathers for the next transaction (group commit), and who comes alone does not wait for
company. Who writes: services/journalthread.py.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from services.journalfile import Entry, JournalError, JournalFile, Schema
from services.journalthread import Job, JournalThread, Worker, attempt
from services.tracing import apart

__all__ = ["Entry", "Job", "Journal", "JournalError", "OpenJournal", "Schema", "Worker", "attempt"]

T = TypeVar("T")
#: Told once what was to be written survives (None), or why it was not written. Must not raise.
Told = Callable[[JournalError | None], None]

#: After a failure writing is tried again this often (wall seconds).
RETRY_S = 0.5
#: A closing journal gives up on a disk that does not answer after this long (wall seconds).
CLOSE_S = 5.0
#: What nobody waits for is written this much later at the latest (wall seconds).
ALONG_S = 0.05
#: More entries than this take their time, however quick the disk is.
BRIEF = 256

_log = logging.getLogger(__name__)


def _ignore(_: JournalError | None) -> None: ...


@dataclass(slots=True)
class _Unit:
    """Entries that are written together; `told` None: nobody waits, and they are kept until they are written."""

    entries: list[Entry]
    told: Told | None = None


class Journal:
    """One SQLite file, written in groups. Use from one event loop only; the file is opened when first used.

    `on_change` is told when writing fails (the JournalError) and when it works again (None); meanwhile `commit` fails at
    once, `write` keeps its entries, and writing is tried again every `retry_s` wall seconds unless the failure lasts.
    `lock` is the descriptor of the file's lock where this process has it already.
    """

    def __init__(
        self,
        path: Path,
        schema: Schema,
        durability: str = "fsync",
        on_change: Callable[[JournalError | None], None] = _ignore,
        retry_s: float = RETRY_S,
        worker: Callable[[JournalFile, asyncio.AbstractEventLoop], Worker] | None = None,
        lock: int | None = None,
    ) -> None:
        self.path = path
        self.error: JournalError | None = None
        self._file = JournalFile(path, schema, durability, lock)
        self._on_change = on_change
        self._retry_s = retry_s
        self._units: list[_Unit] = []
        self._busy = False
        self._due = False
        self._retry: asyncio.TimerHandle | None = None
        self._along: asyncio.TimerHandle | None = None
        self._worker = worker or JournalThread
        self._writer: Worker | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a file to read from; also where that cannot be seen, so that reading it says why."""
        try:
            return self.path.exists()
        except OSError:
            return True

    def write(self, *entries: Entry) -> None:
        """Entries to be written soon, after all that came before; kept through failures until they are."""
        self._units.append(_Unit([*entries]))
        self._wake()

    def write_along(self, *entries: Entry) -> None:
        """`write`, of what a restart would find out by itself: with the next transaction, or within `ALONG_S`."""
        last = self._units[-1] if self._units else None
        if last is None or last.told is not None:
            self._units.append(_Unit([*entries]))
        else:
            last.entries += entries
        if self._along is None:
            self._along = asyncio.get_running_loop().call_later(ALONG_S, self._wake_along, context=apart())

    def _wake_along(self) -> None:
        self._along = None
        if self._units:
            self._wake()

    async def commit(self, *entries: Entry) -> None:
        """Until `entries`, and all that came before them, survive; JournalError: none of `entries` was written.

        Without entries: until all that came before survives.
        """
        done = asyncio.get_running_loop().create_future()
        self.commit_then(partial(_settle, done), *entries)
        await done

    def commit_then(self, told: Told, *entries: Entry) -> None:
        """`commit`, for which nobody waits: `told` is told how it ended, at once where nothing can be written."""
        if self.error is not None:
            told(self.error)
            return
        self._units.append(_Unit([*entries], told))
        self._wake()

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What `function` makes of the open database, in the journal's thread; JournalError where it cannot be read."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def tell(result: T | None, error: JournalError | None) -> None:
            if done.cancelled():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]  # None where T is None

        self._running().do(Job(lambda file: function(file.connection()), tell))
        return await done

    async def close(self) -> None:
        """Write what waits, if the disk lets it, and let go of the file. Nothing may be asked of it afterwards."""
        if self._writer is None and not self._units:
            return
        try:
            await asyncio.wait_for(self._flushed(), CLOSE_S)
        except (JournalError, TimeoutError) as error:
            _log.error(
                "the journal ends with entries unwritten", extra={"entries": self._waiting(), "detail": str(error)}
            )
        for timer in (self._retry, self._along):
            if timer is not None:
                timer.cancel()
        thread = self._running()
        thread.end()
        await asyncio.to_thread(thread.join, CLOSE_S)

    async def _flushed(self) -> None:
        if self._units or self._busy:
            await self.commit()

    def _waiting(self) -> int:
        return sum(len(unit.entries) for unit in self._units)

    # -- the group commit ---------------------------------------------------------------------------------------------
    def _wake(self) -> None:
        if not (self._due or self._busy or self.error):
            self._due = True
            asyncio.get_running_loop().call_soon(self._next, context=apart())

    def _next(self) -> None:
        self._due = False
        if self._busy or not (self._units or self.error):
            return
        units, self._units = self._units, []
        entries = [entry for unit in units for entry in unit.entries]
        self._busy = True

        def work(file: JournalFile) -> None:
            if entries:
                file.write(entries)
            elif self.error is not None:
                file.touch()

        self._running().do(Job(work, lambda _, error: self._written(units, error), len(entries) <= BRIEF))

    def _written(self, units: list[_Unit], error: JournalError | None) -> None:
        self._busy = False
        if error is not None:
            self._units[:0] = [unit for unit in units if unit.told is None]
            units += [unit for unit in self._units if unit.told is not None]
            self._units = [unit for unit in self._units if unit.told is None]
        self._note(error)
        for unit in units:
            if unit.told is not None:
                _tell(unit.told, error)
        if self._units:
            self._wake()

    def _note(self, error: JournalError | None) -> None:
        before, self.error = self.error, error
        if error is not None and not error.lasting:
            self._retry = asyncio.get_running_loop().call_later(self._retry_s, self._next, context=apart())
        if (before and before.reason) == (error and error.reason):
            return
        if error is not None:
            _log.error("the journal cannot be written", extra={"reason": error.reason, "detail": error.detail})
        else:
            _log.warning("the journal can be written again", extra={"path": str(self.path)})
        self._on_change(error)

    def _running(self) -> Worker:
        if self._writer is None:
            self._writer = self._worker(self._file, asyncio.get_running_loop())
            self._writer.start()
        return self._writer


def _tell(told: Told, error: JournalError | None) -> None:
    try:
        told(error)
    except Exception:  # noqa: BLE001  whoever fails here must not keep the others waiting
        _log.exception("failed to take what became of a commit")


def _settle(done: asyncio.Future[None], error: JournalError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
        return
    done.set_exception(error)
    done.exception()  # whoever waited may be gone: then nobody need hear of it


#: How a service opens its journal: with a path, a schema, a durability and, of a substation, an `on_change`.
OpenJournal = Callable[..., Journal]
