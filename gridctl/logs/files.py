"""A process's log files: which there are, where in them to begin, and where they end. Must not know what lines mean.

Files are only ever appended to and rotated by renaming (`<name>.log` → `.log.1` → …), so a file is known by its inode.
Nothing is read as a whole: the beginning is found by halving (`since`) or from the end (`tail`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from gridctl.logs.lines import parse

SUFFIX = ".log"
#: How many rotated files a process may have; one more than is kept, since a rotation may be under way.
ROTATIONS = 4
BLOCK = 65_536
#: How far back the record is sought to which raw lines at the beginning belong.
_CONTEXT_LINES = 1000

Identity = tuple[int, int]


class Part:
    """One file of a log, held open so that it stays the same file whatever it is renamed to."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        state = os.fstat(self._descriptor)
        self.identity: Identity = (state.st_dev, state.st_ino)

    @property
    def size(self) -> int:
        """Its bytes now."""
        return os.fstat(self._descriptor).st_size

    @property
    def written_s(self) -> float:
        """When it was last written, Unix seconds."""
        return os.fstat(self._descriptor).st_mtime

    def read(self, offset: int, count: int = BLOCK) -> bytes:
        """At most `count` bytes from `offset` on; none at the end."""
        return os.pread(self._descriptor, count, offset)

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)


class Position(NamedTuple):
    """Where to begin: the index of a part, oldest first, and an offset in it, in bytes, at the start of a line."""

    part: int
    offset: int


def names_in(folder: Path) -> list[str]:
    """The processes that have a log in `folder`, rotated or not, in natural order (substation2 before substation10)."""
    try:
        files = [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
    names = {file.rpartition(SUFFIX)[0] for file in files if file.endswith(SUFFIX)}
    names |= {file.rpartition(f"{SUFFIX}.")[0] for file in files if file.rpartition(f"{SUFFIX}.")[2].isdigit()}
    return sorted(names - {""}, key=natural)


def natural(name: str) -> tuple[str, int, str]:
    """A key that sorts names which end in a number by that number."""
    stem = name.rstrip("0123456789")
    number = name[len(stem) :]
    return stem, int(number or "0"), name


def open_parts(folder: Path, name: str, until: Identity | None = None) -> list[Part]:
    """The open files of a process, oldest first; only those newer than the file `until`, where that is given.

    Opened from the newest on: a rotation meanwhile then shows a file twice, which is noticed, and never hides one.
    """
    parts: list[Part] = []
    for number in range(ROTATIONS + 1):
        path = folder / (f"{name}{SUFFIX}.{number}" if number else f"{name}{SUFFIX}")
        try:
            part = Part(path)
        except FileNotFoundError:
            continue
        if part.identity == until:
            part.close()
            break
        if any(part.identity == other.identity for other in parts):
            part.close()
        else:
            parts.append(part)
    return parts[::-1]


def forward(part: Part, offset: int) -> Iterator[tuple[int, bytes]]:
    """The lines of `part` from `offset` on, each with its own offset and without its newline; the last may be partial."""
    rest = b""
    while block := part.read(offset + len(rest)):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield offset, line
            offset += len(line) + 1
    if rest:
        yield offset, rest


def backward(parts: list[Part], position: Position | None = None) -> Iterator[tuple[Position, bytes]]:
    """The lines before `position` (None: the end), from the newest to the oldest, across the parts."""
    newest = position.part if position else len(parts) - 1
    for index in range(newest, -1, -1):
        end = position.offset if position and index == newest else parts[index].size
        for offset, line in _backward(parts[index], end):
            yield Position(index, offset), line


def _backward(part: Part, end: int) -> Iterator[tuple[int, bytes]]:
    rest = b""
    start = end
    ended = True  # the newline at the very end closes the last line, it does not begin an empty one
    while start > 0:
        count = min(BLOCK, start)
        start -= count
        first, *lines = (part.read(start, count) + rest).split(b"\n")
        offset = start + len(first) + 1 + sum(len(line) + 1 for line in lines)
        for line in reversed(lines):
            offset -= len(line) + 1
            if line or not ended:
                yield offset, line
            ended = False
        rest = first
    if end and (rest or not ended):
        yield 0, rest


def tail(parts: list[Part], count: int, counts: Callable[[bytes], bool]) -> Position:
    """Where the last `count` lines begin of those that `counts`; the very beginning if there are fewer."""
    position = end_of(parts)
    if not count:
        return position
    for position, line in backward(parts):
        count -= counts(line)
        if not count:
            return position
    return Position(0, 0)


def end_of(parts: list[Part]) -> Position:
    """Behind the last line."""
    return Position(len(parts) - 1, parts[-1].size)


def since(parts: list[Part], at_s: float) -> Position:
    """Where the first record of `at_s` (Unix seconds) or later stands; the end if there is none."""
    for index in range(len(parts) - 1, -1, -1):
        first = next(_records(parts[index], 0), None)
        began_s = first[1] if first else parts[index].written_s
        if began_s < at_s:
            offset = _first_since(parts[index], at_s)
            return Position(index, offset)
    return Position(0, 0)


def _records(part: Part, offset: int) -> Iterator[tuple[int, float]]:
    for place, line in forward(part, offset):
        if parsed := parse(line):
            yield place, parsed[0]


def _first_since(part: Part, at_s: float) -> int:
    low, high = 0, part.size
    while high - low > BLOCK:
        middle = (low + high) // 2
        found = next(_records(part, _line_start(part, middle)), None)
        if found and found[1] < at_s:
            low = found[0]
        else:
            high = middle
    return next((offset for offset, time_s in _records(part, _line_start(part, low)) if time_s >= at_s), part.size)


def _line_start(part: Part, offset: int) -> int:
    """The beginning of the first line at or after `offset`."""
    if offset == 0:
        return 0
    place = offset - 1
    while block := part.read(place):
        newline = block.find(b"\n")
        if newline >= 0:
            return place + newline + 1
        place += len(block)
    return place


def record_before(parts: list[Part], position: Position) -> float | None:
    """When the record before `position` was written, Unix seconds: raw lines at `position` belong to it; None if none."""
    for passed, (_, line) in enumerate(backward(parts, position)):
        if parsed := parse(line):
            return parsed[0]
        if passed >= _CONTEXT_LINES:
            break
    return None
