"""Who writes a journal: the event loop while the disk is quick, a thread while it is not, and never two at once."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from services.journal import ALONG_S, BRIEF, Journal
from services.journalfile import JournalFile
from services.journalthread import APART, MOST_APART_S, QUICK_S, JournalThread
from tests.services.grid import until
from tests.services.test_journal import SCHEMA, note, read


class Disk:
    """Tells who wrote, and takes `takes_s` for each transaction, by a clock that only it moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.takes_s = 0.0
        self.by_loop: list[bool] = []
        self.patient: list[bool] = []
        self._waits = True

    def _saw(self, statement: str) -> None:
        if statement.startswith("PRAGMA busy_timeout"):
            self._waits = not statement.endswith(" 0")
        elif statement == "BEGIN IMMEDIATE":
            self.patient.append(self._waits)
        elif statement == "COMMIT":
            self.by_loop.append(threading.current_thread() is threading.main_thread())
            self.now_s += self.takes_s

    def thread(self, file: JournalFile, loop: asyncio.AbstractEventLoop) -> JournalThread:
        return JournalThread(file, loop, lambda: self.now_s)

    @asynccontextmanager
    async def opened(self, path: Path) -> AsyncIterator[Journal]:
        journal = Journal(path, SCHEMA, worker=self.thread, retry_s=0.02)
        await journal.read(lambda connection: connection.set_trace_callback(self._saw))
        try:
            yield journal
        finally:
            await journal.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program has the file."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


async def _committed(journal: Journal, numbers: range) -> None:
    for number in numbers:
        await journal.commit(note(number))


async def test_while_the_disk_is_quick_nothing_is_handed_to_a_thread(tmp_path: Path) -> None:
    disk = Disk()
    async with disk.opened(tmp_path / "n.db") as journal:
        await _committed(journal, range(20))
        assert disk.by_loop == [True] * 20
        await journal.commit(*(note(number) for number in range(20, 21 + BRIEF)))
        assert not disk.by_loop[-1]
        await _committed(journal, range(1000, 1002))
        assert disk.by_loop[-2:] == [True, True]


async def test_while_it_is_slow_the_thread_writes_and_then_the_loop_tries_again(tmp_path: Path) -> None:
    disk = Disk()
    async with disk.opened(tmp_path / "n.db") as journal:
        for at, slow_s, apart_s in ((0, 2 * QUICK_S, 4 * APART * QUICK_S), (100, 1000.0, MOST_APART_S)):
            disk.takes_s = slow_s
            await _committed(journal, range(at, at + 1))
            disk.takes_s = 0.0
            await _committed(journal, range(at + 1, at + 6))
            disk.now_s += 0.99 * apart_s
            await _committed(journal, range(at + 6, at + 8))
            disk.now_s += 0.02 * apart_s
            await _committed(journal, range(at + 8, at + 10))
            assert disk.by_loop[-10:] == [True, *[False] * 7, True, True]


async def test_what_is_asked_while_the_thread_is_busy_comes_after_it(tmp_path: Path) -> None:
    may_read = threading.Event()
    disk = Disk()

    def patiently(connection: sqlite3.Connection) -> list[Any]:
        may_read.wait()
        return connection.execute("SELECT number FROM notes").fetchall()

    async with disk.opened(tmp_path / "n.db") as journal:
        await journal.commit(note(1))
        reading = asyncio.ensure_future(journal.read(patiently))
        writing = asyncio.ensure_future(journal.commit(note(2)))
        await asyncio.sleep(0)  # sleep: both have begun
        assert not writing.done()
        may_read.set()
        assert await reading == [(1,)]
        await writing
        assert disk.by_loop == [True, False]


async def test_the_loop_does_not_wait_for_who_has_locked_the_file(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    disk = Disk()
    async with disk.opened(path) as journal:
        await journal.commit(note(1))
        with locked(path):
            writing = asyncio.ensure_future(journal.commit(note(2)))
            for _ in range(10):
                await asyncio.sleep(0)  # sleep: lets it begin
            assert not writing.done()
        await writing
        await journal.commit(note(3))
        assert disk.by_loop == [True, False, True]
        assert disk.patient == [False, False, True, False]
    assert read(path) == [1, 2, 3]


async def test_what_may_wait_goes_with_what_is_waited_for(tmp_path: Path) -> None:
    disk = Disk()
    async with disk.opened(tmp_path / "n.db") as journal:
        for number in range(5):
            journal.write_along(note(number))
        await journal.commit(note(10))
        assert (len(disk.by_loop), read(tmp_path / "n.db")) == (1, [0, 1, 2, 3, 4, 10])
        await asyncio.sleep(2 * ALONG_S)  # sleep: nothing is left for the timer to write
        assert len(disk.by_loop) == 1


async def test_and_by_itself_where_nothing_comes_or_at_the_end(tmp_path: Path) -> None:
    disk = Disk()
    async with disk.opened(tmp_path / "n.db") as journal:
        for number in range(2):
            journal.write_along(note(number))
        await until(lambda: read(tmp_path / "n.db") == [0, 1])
        assert len(disk.by_loop) == 1
        journal.write_along(note(2))
    assert read(tmp_path / "n.db") == [0, 1, 2]
