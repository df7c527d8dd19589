"""The one tree of expected errors; must not know how they are shown.

GridError               exit 1   an expected failure: one line, what was found, what to do next
├── Invalid             exit 2   usage or topology is wrong; carries every fault found
├── NotRunning          exit 3   no such cluster is running
├── NotReady            exit 4   something did not become ready, or a threshold failed
└── InUse               exit 5   a name or a port is taken
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class GridError(Exception):
    """An expected failure. `message` says what was expected and found, `hint` what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a declared file or flag.

    `where` is the file (or `--flag`, or an environment variable), `line` counts from 1 (0: unknown), `key` is the dotted
    path (`substations[2].max_sessions`), `found` what stands there, `allowed` what may.
    """

    where: str
    line: int
    key: str
    found: str
    allowed: str

    def __str__(self) -> str:
        place = f"{self.where}:{self.line}" if self.line else self.where
        if self.where.lstrip("-") == self.key.replace("_", "-"):  # a flag that is its own key
            return f"{place}: found {self.found}; allowed: {self.allowed}"
        return f"{place}: {self.key}: found {self.found}; allowed: {self.allowed}"


class Invalid(GridError):
    """Usage or topology is wrong; `faults` holds all of what was found, in file order."""

    exit_code = 2

    def __init__(self, message: str, hint: str = "", faults: Sequence[Fault] = ()) -> None:
        super().__init__(message, hint)
        self.faults = tuple(faults)


class NotRunning(GridError):
    """No such cluster is running."""

    exit_code = 3


class NotReady(GridError):
    """Something did not become ready in time, or a threshold that the user set failed."""

    exit_code = 4


class InUse(GridError):
    """A cluster's name or a port is taken; the message names the holder."""

    exit_code = 5
