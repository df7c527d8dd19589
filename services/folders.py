"""Folders that outlast a power cut, as what is written into them does. Must not know what that is."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

_KNOWS_NO_SYNC = (errno.EINVAL, errno.ENOTSUP)


def sync_folder(path: Path, fsync: Callable[[int], None] = os.fsync) -> None:
    """Returns once what stands in the folder `path`, not in those below, survives a power cut.

    Or at once where this user may not read it, or its file system knows no such thing. OSError where the disk fails.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return
    try:
        fsync(descriptor)
    except OSError as error:
        if error.errno not in _KNOWS_NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def make_folder(path: Path, sync: Callable[[Path], None] = sync_folder) -> None:
    """Makes the folder `path`, for its owner only, and all above that are missing; each entry survives. Blocking.

    OSError where it cannot be made, FileExistsError where a file is in the way. POSIX promises a new file's name to survive
    a power cut only once its folder was synced, and so on upwards.
    """
    missing = []
    folder = path.absolute()
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        sync(each.parent)
