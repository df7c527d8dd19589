"""Which journal of a shared folder is this substation's: it locks one that nobody owns, and bears its name.

A lock (flock) is the kernel's and ends with its process, however that ends. Must not know HTTP, admission or DNS.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from config.errors import GridError
from services.folders import make_folder
from services.journal import Journal, JournalError, OpenJournal
from services.journalfile import lock_path
from services.substation.journal import last_end_unix_s

#: Who chooses a journal is waited for at most this long (wall seconds): that takes milliseconds, unless it was paused.
CHOOSING_S = 5.0
_LOOK_S = 0.01
_SUFFIX = ".db"
#: What is in an unowned journal, in the order in which it needs an owner.
_IDLE, _UNFINISHED, _CHARGING = range(3)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """The journal at `path`, nobody else's while `lock` is open, and the substation's `name` that follows from it."""

    name: str
    path: Path
    lock: int

    @property
    def open_journal(self) -> OpenJournal:
        """Opens it under the lock that is held already."""
        return partial(Journal, lock=self.lock)

    def release(self) -> None:
        """Somebody else may own it."""
        os.close(self.lock)


def adopt(
    folder: Path,
    base: str,
    sleep: Callable[[float], None] = time.sleep,
    unix_s: Callable[[], float] = time.time,
    make: Callable[[Path], None] = make_folder,
) -> Claim:
    """Locks a journal `<base>-<k>.db` in `folder`, which is made where it is missing; blocking.

    The first unowned one in which sessions still charge; else the first whose sessions ended with nobody there to note it;
    else the first; where none is unowned a new one of the lowest free number. One that cannot be read is left as it is, and
    said. GridError where the folder cannot be used.
    """
    try:
        make(folder)
        with _choosing(folder, base, sleep):
            claim = _unowned(folder, base, unix_s()) or _new(folder, base)
    except OSError as error:
        advice = "name a folder on a local disk that this user may write to"
        raise GridError(f"--journal-dir {folder}: cannot be used: {error}", advice) from error
    _log.info("adopted a journal", extra={"substation": claim.name, "path": str(claim.path)})
    return claim


@contextmanager
def _choosing(folder: Path, base: str, sleep: Callable[[float], None]) -> Iterator[None]:
    """One at a time looks at them all, so that two that start together do not see each other's looks as owners."""
    descriptor = os.open(folder / f".{base}.choosing", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(round(CHOOSING_S / _LOOK_S)):
            if _locked(descriptor):
                break
            sleep(_LOOK_S)
        else:  # two may then miss the best choice, but never take the same one
            _log.warning("chose a journal beside another that is choosing", extra={"folder": str(folder)})
        yield
    finally:
        os.close(descriptor)


def _unowned(folder: Path, base: str, now_unix_s: float) -> Claim | None:
    """The best of those that nobody owns; all others are released."""
    best: Claim | None = None
    best_rank = -1
    for number in _numbers(folder, base):
        claim = _claim(folder, base, number)
        if claim is None:
            continue
        rank = _rank(claim, now_unix_s)
        if rank <= best_rank:
            claim.release()
            continue
        if best is not None:
            best.release()
        best, best_rank = claim, rank
        if rank == _CHARGING:
            break
    return best


def _numbers(folder: Path, base: str) -> list[int]:
    known = re.compile(rf"{re.escape(base)}-([1-9][0-9]{{0,8}}){re.escape(_SUFFIX)}", re.ASCII)
    found = (known.fullmatch(name) for name in (path.name for path in folder.iterdir()))
    return sorted(int(match[1]) for match in found if match)


def _rank(claim: Claim, now_unix_s: float) -> int:
    """How much a journal needs a substation; -1 where it cannot be used: a person must look at it, not the next start."""
    try:
        end_s = last_end_unix_s(claim.path)
    except JournalError as error:
        extra = {"reason": error.reason, "detail": error.detail, "path": str(claim.path)}
        _log.error("left a journal that cannot be used; its sessions are not resumed", extra=extra)
        return -1
    if end_s is None:
        return _IDLE
    return _CHARGING if end_s > now_unix_s else _UNFINISHED


def _new(folder: Path, base: str) -> Claim:
    for number in count(1):
        if (folder / f"{base}-{number}{_SUFFIX}").exists():
            continue
        claim = _claim(folder, base, number)
        if claim is not None:
            return claim
    raise AssertionError("numbers do not end")


def _claim(folder: Path, base: str, number: int) -> Claim | None:
    """None where another process owns it."""
    name = f"{base}-{number}"
    path = folder / f"{name}{_SUFFIX}"
    descriptor = os.open(lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if _locked(descriptor):
            return Claim(name, path, descriptor)
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True
