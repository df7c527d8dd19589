"""Reads the logs of processes from a beginning on, and goes on as they grow, rotate, and new processes come.

Must not know how lines are shown, nor how to wait: whoever follows calls `poll` again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gridctl.logs.files import (
    SUFFIX,
    Identity,
    Part,
    Position,
    names_in,
    open_parts,
    record_before,
    since,
    tail,
)
from gridctl.logs.lines import Line, Reorder, Stamper, level_reached, merged, parse

#: A line longer than this is cut into several, so that no line can fill the memory.
LINE_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is shown: from `since_s` on (Unix seconds), the last `tail` lines of each process, from `level` up."""

    since_s: float | None = None
    tail: int | None = None
    level: str | None = None

    def beginning(self, parts: list[Part]) -> Position:
        """Where to begin in the files `parts` (at least one)."""
        begins = [Position(0, 0)]
        if self.since_s is not None:
            begins.append(since(parts, self.since_s))
        if self.tail is not None:
            begins.append(tail(parts, self.tail, self._counts))
        return max(begins)

    def shows(self, line: Line) -> bool:
        """Whether `line` is grave enough."""
        return level_reached(line.record, self.level)

    def _counts(self, raw: bytes) -> bool:
        parsed = parse(raw)
        return level_reached(parsed[1] if parsed else None, self.level)


class ProcessLog:
    """The log of one process across its rotations, read once from its beginning to wherever it ends."""

    def __init__(self, folder: Path, name: str, extent: Extent) -> None:
        self.name = name
        self._folder = folder
        self._parts = open_parts(folder, name)
        begin = extent.beginning(self._parts) if self._parts else Position(0, 0)
        self._stamper = Stamper(name, record_before(self._parts, begin) if self._parts else None)
        self._drop(begin.part)
        self._offset = begin.offset
        self._partial = b""

    def lines(self) -> Iterator[Line]:
        """What is there and was not read yet, up to the last whole line."""
        while self._parts:
            part = self._parts[0]
            yield from self._rest_of(part)
            yield from self._stamper.settle(part.written_s)
            if len(self._parts) == 1:
                return
            yield from self.last_line()
            self._drop(1)
            self._offset = 0

    def last_line(self) -> Iterator[Line]:
        """The last line, if it has no newline yet and never will."""
        if self._partial:
            yield from self._stamped(self._partial)
            yield from self._stamper.settle(self._parts[0].written_s)
            self._partial = b""

    def look_for_newer(self) -> None:
        """Notice a rotation, or that the log exists now; the old file is read to its end once more before the new one."""
        if not self._parts:
            self._parts = open_parts(self._folder, self.name)
            return
        current = self._parts[-1].identity
        if self._identity() != current:
            self._parts += open_parts(self._folder, self.name, until=current)

    def close(self) -> None:
        """Give the files back."""
        self._drop(len(self._parts))

    def _identity(self) -> Identity | None:
        try:
            state = os.stat(self._folder / f"{self.name}{SUFFIX}")  # noqa: PTH116 - often, for each process
        except FileNotFoundError:  # in the middle of a rotation
            return None
        return state.st_dev, state.st_ino

    def _drop(self, count: int) -> None:
        for part in self._parts[:count]:
            part.close()
        del self._parts[:count]

    def _rest_of(self, part: Part) -> Iterator[Line]:
        if part.size < self._offset:  # somebody emptied it
            self._offset, self._partial = 0, b""
        while block := part.read(self._offset):
            self._offset += len(block)
            *lines, self._partial = (self._partial + block).split(b"\n")
            for raw in lines:
                yield from self._stamped(raw)
            if len(self._partial) >= LINE_LIMIT:
                yield from self._stamped(self._partial)
                self._partial = b""

    def _stamped(self, raw: bytes) -> Iterator[Line]:
        return self._stamper.stamp(raw)


class LogStream:
    """The logs in `folder` of the processes that are `wanted`, as one stream: first `history`, then each `poll`."""

    def __init__(self, folder: Path, wanted: Callable[[str], bool], extent: Extent) -> None:
        self._folder = folder
        self._wanted = wanted
        self._extent = extent
        self._logs = {name: ProcessLog(folder, name, extent) for name in names_in(folder) if wanted(name)}
        self._reorder = Reorder()

    def history(self) -> Iterator[Line]:
        """Everything up to now, in the order of time."""
        return filter(self._extent.shows, merged([log.lines() for log in self._logs.values()]))

    def last_lines(self) -> Iterator[Line]:
        """The lines without a newline at the very end, for whoever does not go on to `poll`."""
        return filter(self._extent.shows, merged([log.last_line() for log in self._logs.values()]))

    def poll(self, now_s: float) -> list[Line]:
        """What was written since, in the order of time; `now_s` is the Unix time now."""
        self._welcome_new()
        fresh: list[Line] = []
        for log in self._logs.values():
            log.look_for_newer()
            fresh += filter(self._extent.shows, log.lines())
        return self._reorder.round(fresh, now_s)

    def close(self) -> None:
        """Give all files back."""
        for log in self._logs.values():
            log.close()

    def _welcome_new(self) -> None:
        for name in names_in(self._folder):
            if name not in self._logs and self._wanted(name):
                self._logs[name] = ProcessLog(self._folder, name, Extent(level=self._extent.level))
