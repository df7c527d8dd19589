"""Folders are made with all above them, each where a power cut leaves it; what stands there is left as it is."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from services.folders import make_folder, sync_folder
from services.journalfile import JournalFile
from services.substation.adoption import adopt
from services.substation.journal import SCHEMA


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of folders that were synced, in order."""
    found: list[str] = []
    real = os.fsync

    def noted(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            found.append(path.name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return found


def test_each_new_entry_survives(tmp_path: Path, synced: list[str]) -> None:
    made = tmp_path / "a" / "b" / "c"
    make_folder(made)
    assert made.is_dir()
    assert (made.stat().st_mode & 0o777, made.parent.stat().st_mode & 0o777) == (0o700, 0o700)
    assert synced == [tmp_path.name, "a", "b"]
    make_folder(made)
    assert synced == [tmp_path.name, "a", "b"], "nothing new"


def test_a_file_in_the_way_is_left(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("theirs")
    with pytest.raises((FileExistsError, NotADirectoryError)):
        make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a").read_text() == "theirs"


def _journal(folder: Path) -> None:
    file = JournalFile(folder / "substation-1.db", SCHEMA)
    file.connection()
    file.close()


def _adopted(folder: Path) -> None:
    os.close(adopt(folder, "substation").lock)


@pytest.mark.parametrize("make", [_journal, _adopted])
def test_a_journal_s_folders_survive(tmp_path: Path, synced: list[str], make: Callable[[Path], None]) -> None:
    make(tmp_path / "a" / "b")
    assert synced[:2] == [tmp_path.name, "a"]


def test_a_journal_in_a_folder_that_another_made_says_so_for_it(tmp_path: Path, synced: list[str]) -> None:
    """Who made it may have been killed before it synced what is above."""
    folder = tmp_path / "a"
    folder.mkdir()
    _journal(folder)
    assert synced == [tmp_path.name]
    _journal(folder)
    assert synced == [tmp_path.name], "it was there"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_without_such_a_thing_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    sync_folder(tmp_path)


def test_a_disk_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="error"):
        sync_folder(tmp_path)
