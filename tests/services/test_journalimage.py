"""A new journal's file in one piece: what SQLite would have made, there as a whole or not at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from services.balancer.journal import SCHEMA as BALANCERS
from services.journalfile import JournalError, JournalFile, Schema
from services.journalimage import lay_down
from services.substation.journal import SCHEMA as SUBSTATIONS
from tests.services.disk import small_disk


def _as_sqlite_sees(path: Path) -> list[object]:
    with closing(sqlite3.connect(path)) as found:
        pragmas = ("application_id", "user_version", "journal_mode", "page_size", "encoding", "integrity_check")
        said = [found.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
        return [*said, *found.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name")]


def _files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("j.db*")}


@pytest.mark.parametrize("schema", [BALANCERS, SUBSTATIONS])
def test_it_is_what_sqlite_makes_by_itself(tmp_path: Path, schema: Schema) -> None:
    laid, made = tmp_path / "laid.db", tmp_path / "made.db"
    assert lay_down(laid, schema.prepare())
    made.touch()  # there, and empty: the tables are made in it
    file = JournalFile(made, schema)
    file.connection()
    file.close()
    assert _as_sqlite_sees(laid) == _as_sqlite_sees(made)


@pytest.mark.parametrize("more", ["", "-wal", "-journal"])
def test_what_is_there_is_left_alone(tmp_path: Path, more: str) -> None:
    """A log of writes that lost its file would be played onto the new one."""
    (tmp_path / f"j.db{more}").write_bytes(b"somebody's")
    assert not lay_down(tmp_path / "j.db", b"new")
    assert _files(tmp_path) == {f"j.db{more}": b"somebody's"}


def test_what_a_killed_one_left_of_it_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "j.db.new").write_bytes(b"half of")
    assert lay_down(tmp_path / "j.db", b"new")
    assert _files(tmp_path) == {"j.db": b"new"}


def test_where_there_is_no_room_nothing_is_left(tmp_path: Path) -> None:
    with small_disk(tmp_path, 64) as disk:
        if disk is None:
            pytest.skip("nobody may mount a disk here")
        with pytest.raises(OSError, match="No space"):
            lay_down(disk / "j.db", b"x" * (1 << 17))
        assert _files(disk) == {}


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "j.db.new").mkdir()  # no file can be made by that name, by whoever tries
    with pytest.raises(JournalError) as failed:
        JournalFile(tmp_path / "j.db", SUBSTATIONS).connection()
    assert failed.value.reason == "journal-read-only"
