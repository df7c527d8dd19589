"""Memory that several workers share: each has a page on which it alone writes, and reads those of all.

Whoever started them holds it, so that what a worker wrote outlives it, however it ends. Must not know what is written.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from dataclasses import dataclass

#: There are no more pages than workers can be.
PAGES = 16
#: A page holds two versions of what its worker has to say: one that stands while the other is written.
VERSION_BYTES = 1 << 16
_HEAD = struct.Struct("=dII")  # when (wall seconds, monotonic), length, checksum
_PAGE_HEAD_BYTES = 64
_PAGE_BYTES = _PAGE_HEAD_BYTES + 2 * VERSION_BYTES
_CONNECTIONS = struct.Struct("=Q")
_CONNECTIONS_AT = 8
#: A version may be overwritten twice while it is read, if who reads is slow; not every time.
_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """What a worker wrote, and when: seconds of the machine's monotonic clock."""

    at_s: float
    content: bytes


def create() -> int:
    """A descriptor of new, empty memory for `Sheet`; a page takes none until it is written."""
    descriptor = os.memfd_create("gridctl-workers") if hasattr(os, "memfd_create") else _nameless()
    os.ftruncate(descriptor, PAGES * _PAGE_BYTES)
    return descriptor


def _nameless() -> int:
    import tempfile  # noqa: PLC0415  slow, and for macOS only

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Sheet:
    """The memory behind a descriptor of `create`, whose process may be another one."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, PAGES * _PAGE_BYTES)

    def write(self, page: int, content: bytes, at_s: float) -> bool:
        """Puts `content` in place of what stood on `page`: a reader sees the old or the new. False: it is too long."""
        if len(content) > VERSION_BYTES - _HEAD.size:
            return False
        start = page * _PAGE_BYTES
        version = 1 - self._memory[start]
        at = start + _PAGE_HEAD_BYTES + version * VERSION_BYTES
        _HEAD.pack_into(self._memory, at, at_s, len(content), zlib.crc32(content))
        self._memory[at + _HEAD.size : at + _HEAD.size + len(content)] = content
        self._memory[start] = version
        return True

    def read(self, page: int) -> Entry | None:
        """What stands on `page`; None where nothing was ever written, or it changed under the reader's eyes each time."""
        start = page * _PAGE_BYTES
        for _ in range(_ATTEMPTS):
            at = start + _PAGE_HEAD_BYTES + self._memory[start] * VERSION_BYTES
            at_s, length, checksum = _HEAD.unpack_from(self._memory, at)
            if not at_s:
                return None
            content = self._memory[at + _HEAD.size : at + _HEAD.size + min(length, VERSION_BYTES)]
            if zlib.crc32(content) == checksum:
                return Entry(at_s, content)
        return None

    def noted_s(self, page: int) -> float:
        """When something was written on `page`; 0 where nothing ever was."""
        start = page * _PAGE_BYTES
        return float(_HEAD.unpack_from(self._memory, start + _PAGE_HEAD_BYTES + self._memory[start] * VERSION_BYTES)[0])

    def connect(self, page: int, connections: int) -> None:
        """Notes how many connections the worker of `page` has."""
        _CONNECTIONS.pack_into(self._memory, page * _PAGE_BYTES + _CONNECTIONS_AT, connections)

    def connections(self, page: int) -> int:
        """What was noted there last."""
        return int(_CONNECTIONS.unpack_from(self._memory, page * _PAGE_BYTES + _CONNECTIONS_AT)[0])
