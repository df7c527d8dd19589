"""Shows an operation's progress: one line rewritten on a terminal, plain lines elsewhere. Must not know the verbs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from gridctl.console import uses_ansi, width_of
from gridctl.control import Control

#: States that a user wants to read even when all goes on well.
NOTABLE = frozenset({"BACKOFF", "FATAL", "UNHEALTHY"})
#: Where lines stay, what is waited for is said this seldom (wall seconds).
PLAIN_WAIT_S = 5.0
CLEAR = "\r\x1b[2K"


@dataclass(slots=True)
class Progress:
    """Prints to `stream`. `every_state` prints each change of state, else only troubles are."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    every_state: bool = True
    now: Callable[[], float] = time.monotonic
    _ansi: bool = field(init=False, default=False)
    _states: dict[str, str] = field(default_factory=dict)
    _dirty: bool = False
    _waited: float = float("-inf")

    def __post_init__(self) -> None:
        self._ansi = uses_ansi(self.stream)

    def show(self, line: dict[str, Any]) -> None:
        """One progress line of an operation."""
        if "state" in line and "name" in line:
            self._states[line["name"]] = line["state"]
            if self.every_state or line["state"] in NOTABLE:
                self.say(line["message"])
            else:
                self._count()
        elif line.get("waiting"):
            self._wait(line["message"])
        elif line.get("message"):
            self.say(line["message"])

    def say(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        self.stream.write(text + "\n")
        self.stream.flush()

    def clear(self) -> None:
        """Take the rewritten line away."""
        if self._dirty:
            self.stream.write(CLEAR)
            self.stream.flush()
            self._dirty = False

    def _count(self) -> None:
        ready = sum(state == "READY" for state in self._states.values())
        self._transient(f"{ready} of {len(self._states)} ready")

    def _wait(self, text: str) -> None:
        if self._ansi:
            self._transient(text)
        elif self.now() - self._waited >= PLAIN_WAIT_S:
            self._waited = self.now()
            self.say(text)

    def _transient(self, text: str) -> None:
        if self._ansi:
            width = width_of(self.stream) or 80
            self.stream.write(CLEAR + text[: width - 1])
            self.stream.flush()
            self._dirty = True


@contextmanager
def shown(every_state: bool = True) -> Iterator[Progress]:
    """Progress on stderr, with the rewritten line gone at the end."""
    progress = Progress(every_state=every_state)
    try:
        yield progress
    finally:
        progress.clear()


def operate(control: Control, verb: str, progress: Progress, **args: Any) -> dict[str, Any]:
    """Ask for `verb` and show how it goes; the outcome, with the `changes` that were announced on the way.

    Raises the GridError of an outcome that is not ok.
    """
    from gridctl.control import outcome  # noqa: PLC0415

    announced: dict[str, Any] = {}
    for line in control.operation(verb, **args):
        if line.get("done"):
            return {**announced, **outcome(line)}
        if "changes" in line:
            announced["changes"] = line["changes"]
        progress.show(line)
    raise control.broken()
