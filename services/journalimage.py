"""The file of a new SQLite database in one piece, with its tables: to have SQLite make it takes seven syncs and 1 ms of CPU.

Must not know what the tables are for, or who writes to them.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

#: Where the header says how the file is written and read, and what stands for a log of writes (WAL) there
#: (https://www.sqlite.org/fileformat2.html#file_format_version_numbers).
_FORMATS, _WAL = slice(18, 20), b"\2\2"
#: Files that SQLite would read together with one of this name.
_BESIDE = ("", "-wal", "-journal")
_MODE = 0o644


@cache
def image(application_id: int, version: int, tables: str) -> bytes:
    """A database with these numbers in its header and the tables that the SQL `tables` makes, and nothing in them."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        made.executescript(f"PRAGMA application_id = {application_id}; PRAGMA user_version = {version}; {tables}")
        found = bytearray(made.serialize())
    found[_FORMATS] = _WAL
    return bytes(found)


def lay_down(path: Path, content: bytes) -> bool:
    """Makes the file `path` with `content`, whole or not at all; False where there is something by that name already.

    Blocking; for one process at a time. OSError where it cannot be written. What is in it survives a power cut, that it is
    there once its folder is synced: SQLite does that with the first commit, since it makes a file of its own there too.
    """
    if any(os.path.lexists(f"{path}{more}") for more in _BESIDE):
        return False
    between = path.with_name(f"{path.name}.new")
    try:
        _write(between, content)
        between.replace(path)
    except OSError:
        with suppress(OSError):
            between.unlink()
        raise
    return True


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
    try:
        if os.write(descriptor, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
