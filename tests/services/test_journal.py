"""The journal under all services: group commit, and what becomes of entries when the disk says no."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.journal import Journal, JournalError, Schema
from services.journalfile import JournalFile, open_to_read, rows
from tests.services.disk import fill, small_disk
from tests.services.grid import until

SCHEMA = Schema("a notebook", 0x6E6F7465, 3, "CREATE TABLE notes (number INTEGER PRIMARY KEY, text TEXT)")
INSERT = "INSERT INTO notes VALUES (?, ?)"


def note(number: int, text: str = "x") -> tuple[str, tuple[Any, ...]]:
    return INSERT, (number, text)


def read(path: Path) -> list[int]:
    connection = open_to_read(path, SCHEMA)
    try:
        return [number for (number,) in rows(connection, path, "SELECT number FROM notes ORDER BY number")]
    finally:
        connection.close()


@asynccontextmanager
async def opened(path: Path, **options: Any) -> AsyncIterator[Journal]:
    journal = Journal(path, SCHEMA, **{"retry_s": 0.02, **options})
    try:
        yield journal
    finally:
        await journal.close()


async def pages(journal: Journal, most: int) -> None:
    """Room for at most `most` pages: SQLite then says that the disk is full."""
    await journal.read(lambda connection: connection.execute(f"PRAGMA max_page_count = {most}").fetchall())


@pytest.mark.parametrize("durability", ["fsync", "process"])
async def test_what_was_committed_is_read_by_another_while_it_is_open(tmp_path: Path, durability: str) -> None:
    path = tmp_path / "deep" / "er" / "n.db"
    async with opened(path, durability=durability) as journal:
        assert not journal.exists
        await journal.commit(note(1), note(2))
        journal.write(note(3))
        await journal.commit()
        assert read(path) == [1, 2, 3]
    assert [file.name for file in path.parent.iterdir() if "-" in file.name] == []
    assert read(path) == [1, 2, 3]


async def test_what_was_written_just_before_the_end_is_kept_also_where_nothing_was_asked_before(tmp_path: Path) -> None:
    for number in (1, 2):
        async with opened(tmp_path / "n.db") as journal:
            journal.write(note(number))
    assert read(tmp_path / "n.db") == [1, 2]


async def test_all_that_waits_shares_a_transaction_and_keeps_its_order(tmp_path: Path) -> None:
    async with opened(tmp_path / "n.db") as journal:
        commits = await journal.read(_count_commits)
        await journal.commit(note(0))
        await asyncio.gather(*(journal.commit(note(number)) for number in range(1, 200)))
        journal.write(("UPDATE notes SET text = 'a' WHERE number = ?", (7,)))
        journal.write(("UPDATE notes SET text = text || 'b' WHERE number = ?", (7,)))
        await journal.commit()
        assert await journal.read(lambda c: c.execute("SELECT text FROM notes WHERE number = 7").fetchone()) == ("ab",)
    assert commits.count("COMMIT") == 3


def _count_commits(connection: sqlite3.Connection) -> list[str]:
    seen: list[str] = []
    connection.set_trace_callback(seen.append)
    return seen


async def test_a_commit_is_all_or_nothing_and_the_next_works(tmp_path: Path) -> None:
    async with opened(tmp_path / "n.db") as journal:
        await journal.commit(note(1))
        with pytest.raises(JournalError) as failed:
            await journal.commit(note(2), note(1))
        assert failed.value.reason == "journal-failed"
        await until(lambda: journal.error is None)
        await journal.commit(note(3))
    assert read(tmp_path / "n.db") == [1, 3]


async def test_a_full_disk_refuses_commits_keeps_writes_and_heals_by_itself(tmp_path: Path) -> None:
    told: list[str | None] = []
    async with opened(tmp_path / "n.db", on_change=lambda it: told.append(it and it.reason)) as journal:
        await journal.commit(note(1))
        await pages(journal, 3)
        journal.write(note(2, "y" * 20_000))
        with pytest.raises(JournalError) as failed:
            await journal.commit(note(3))
        assert (failed.value.reason, journal.error) == ("journal-full", failed.value)
        assert "free some space" in failed.value.detail
        with pytest.raises(JournalError):
            await journal.commit(note(4))
        journal.write(note(5))
        await pages(journal, 1000)
        await until(lambda: journal.error is None)
        await journal.commit(note(6))
        assert told == ["journal-full", None]
    assert read(tmp_path / "n.db") == [1, 2, 5, 6]


async def test_who_does_not_wait_is_told_how_it_ended_once_it_did(tmp_path: Path) -> None:
    path = tmp_path / "n.db"
    said: list[tuple[int, str | None, list[int]]] = []

    def tell(number: int, error: JournalError | None) -> None:
        said.append((number, None if error is None else error.reason, read(path)))

    def fail(_: JournalError | None) -> None:
        raise RuntimeError("broken")

    async with opened(path) as journal:
        journal.commit_then(fail, note(1))
        journal.commit_then(partial(tell, 2), note(2))
        assert said == [], "nobody is told before it is written"
        await journal.commit()
        await pages(journal, 3)
        journal.commit_then(partial(tell, 3), note(3, "y" * 20_000))
        await until(lambda: len(said) == 2)
        journal.commit_then(partial(tell, 4), note(4))
        assert said == [(2, None, [1, 2]), (3, "journal-full", [1, 2]), (4, "journal-full", [1, 2])]


async def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    with small_disk(tmp_path, kilobytes=256) as disk:
        if disk is None:
            return  # nobody may mount one here; the page limit above shows the same
        async with opened(disk / "n.db") as journal:
            await journal.commit(note(0))
            fill(disk / "ballast")
            written = await _until_full(journal)
            assert journal.error is not None
            assert journal.error.reason == "journal-full"
            assert read(disk / "n.db") == written
            (disk / "ballast").unlink()
            await until(lambda: journal.error is None)
            await journal.commit(note(5000))
        assert read(disk / "n.db") == [*written, 5000]


async def _until_full(journal: Journal) -> list[int]:
    written = [0]
    with suppress(JournalError):
        for number in range(1, 1000):
            await journal.commit(note(number, "y" * 1000))
            written.append(number)
    return written


@pytest.mark.parametrize("make", [lambda path: path.write_text("not a folder"), lambda path: path.symlink_to("/proc")])
async def test_a_folder_that_cannot_be_written(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "folder")
    async with opened(tmp_path / "folder" / "n.db") as journal:
        with pytest.raises(JournalError) as failed:
            await journal.commit(note(1))
        assert failed.value.reason == "journal-read-only"
        assert "make its folder writable" in failed.value.detail
        assert not failed.value.lasting
        (tmp_path / "folder").unlink()
        await until(lambda: journal.error is None)
        await journal.commit(note(2))
    assert read(tmp_path / "folder" / "n.db") == [2]


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 + 5 : 4096 + 300] = os.urandom(295)
    path.write_bytes(bytes(content))


def newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 4")
    connection.close()


def foreign(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE cats (name TEXT)")
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "reason", "hint"),
    [
        (damaged, "journal-corrupt", "put a copy back or move it away"),
        (lambda path: path.write_bytes(b"SQLite was here" * 1000), "journal-corrupt", "is damaged"),
        (foreign, "journal-corrupt", "is not a notebook; move it away"),
        (newer, "journal-newer", "newer gridctl (schema 4, this one knows 3)"),
    ],
)
async def test_what_cannot_be_read_is_left_as_it_is(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str, hint: str
) -> None:
    path = tmp_path / "n.db"
    async with opened(path) as journal:
        await journal.commit(*(note(number, "y" * 100) for number in range(200)))
    spoil(path)
    before = path.read_bytes()
    async with opened(path) as journal:
        for _ in range(2):
            with pytest.raises(JournalError) as failed:
                await journal.commit(note(1000))
            assert (failed.value.reason, failed.value.lasting) == (reason, True)
            assert hint in failed.value.detail
        with pytest.raises(JournalError):
            await journal.read(lambda connection: connection.execute("SELECT * FROM notes").fetchall())
    assert path.read_bytes() == before
    with pytest.raises(JournalError) as failed:
        open_to_read(path, SCHEMA)
    assert failed.value.reason == reason


async def test_one_writer_at_a_time(tmp_path: Path) -> None:
    async with opened(tmp_path / "n.db") as first, opened(tmp_path / "n.db") as second:
        await first.commit(note(1))
        with pytest.raises(JournalError) as failed:
            await second.commit(note(2))
        assert failed.value.reason == "journal-busy"
        await first.close()
        await until(lambda: second.error is None)
        await second.commit(note(3))
    assert read(tmp_path / "n.db") == [1, 3]


def test_a_killed_process_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    """What lies on disk while the file is open is all there is: a copy of it is what a killed process leaves."""
    file = JournalFile(tmp_path / "n.db", SCHEMA, "process")
    file.write([note(number) for number in range(100)])
    (tmp_path / "after").mkdir()
    for part in ("", "-wal"):
        shutil.copy(tmp_path / f"n.db{part}", tmp_path / "after" / f"n.db{part}")
    file.close()
    again = JournalFile(tmp_path / "after" / "n.db", SCHEMA)
    assert len(again.connection().execute("SELECT * FROM notes").fetchall()) == 100
    again.close()


def test_a_torn_log_costs_its_end_only(tmp_path: Path) -> None:
    """A power cut in the middle of a write: what was committed before is there."""
    file = JournalFile(tmp_path / "n.db", SCHEMA)
    file.write([note(1)])
    length = (tmp_path / "n.db-wal").stat().st_size
    file.write([note(2)])
    (tmp_path / "after").mkdir()
    shutil.copy(tmp_path / "n.db", tmp_path / "after" / "n.db")
    log = (tmp_path / "n.db-wal").read_bytes()
    (tmp_path / "after" / "n.db-wal").write_bytes(log[: length + 1000])
    file.close()
    assert read(tmp_path / "after" / "n.db") == [1]


def test_there_is_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_to_read(tmp_path / "n.db", SCHEMA)
    sqlite3.connect(tmp_path / "n.db").close()
    (tmp_path / "n.db").touch()
    with pytest.raises(JournalError, match="is empty"):
        open_to_read(tmp_path / "n.db", SCHEMA)
