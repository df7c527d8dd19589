"""Folders are made with all above them, each where a power cut leaves it; what stands there is left as it is."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from services.folders import make_folder, sync_folder
from services.journalfile import JournalFile
from services.substation.adoption import adopt
from services.substation.journal import SCHEMA


class Syncs:
    """Notes the folders that are synced, and syncs them."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, path: Path) -> None:
        self.names.append(path.name)
        sync_folder(path)


def test_each_new_entry_survives(tmp_path: Path) -> None:
    synced, made = Syncs(), tmp_path / "a" / "b" / "c"
    make_folder(made, synced)
    assert made.is_dir()
    assert (made.stat().st_mode & 0o777, made.parent.stat().st_mode & 0o777) == (0o700, 0o700)
    assert synced.names == [tmp_path.name, "a", "b"]
    make_folder(made, synced)
    assert synced.names == [tmp_path.name, "a", "b"], "nothing new"


def test_a_file_in_the_way_is_left(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("theirs")
    with pytest.raises((FileExistsError, NotADirectoryError)):
        make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a").read_text() == "theirs"


def journal(folder: Path, durability: str = "fsync") -> list[str]:
    """The folders that are synced when a journal is opened in `folder`."""
    synced = Syncs()
    file = JournalFile(folder / "substation-1.db", SCHEMA, durability, sync=synced)
    file.connection()
    file.close()
    return synced.names


def test_a_journal_s_folders_survive(tmp_path: Path) -> None:
    assert journal(tmp_path / "a" / "b") == [tmp_path.name, "a", "a"]
    assert journal(tmp_path / "c" / "d", "process") == [], "nor does what is in them"


def test_a_journal_in_a_folder_that_another_made_says_so_for_it(tmp_path: Path) -> None:
    """Who made it may have been killed before it synced what is above."""
    folder = tmp_path / "a"
    folder.mkdir()
    assert journal(folder) == [tmp_path.name]
    assert journal(folder) == [], "it was there"


def test_who_adopts_a_journal_makes_its_folder_to_last(tmp_path: Path) -> None:
    synced = Syncs()
    os.close(adopt(tmp_path / "a" / "b", "substation", make=partial(make_folder, sync=synced)).lock)
    assert synced.names == [tmp_path.name, "a"]


def failing(number: int) -> Callable[[int], None]:
    """A disk that says so."""

    def fsync(_: int) -> None:
        raise OSError(number, os.strerror(number))

    return fsync


def test_a_disk_that_fails_is_said_and_one_that_knows_no_syncs_will_do(tmp_path: Path) -> None:
    for number in (errno.EINVAL, errno.ENOTSUP):
        sync_folder(tmp_path, failing(number))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        sync_folder(tmp_path, failing(errno.EIO))
