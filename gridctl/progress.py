"""Shows an operation's progress: one line rewritten on a terminal, plain lines elsewhere. Must not know the verbs."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TextIO

from gridctl.console import uses_ansi, width_of
from gridctl.control import Control

#: States that a user wants to read even when all goes on well.
NOTABLE = frozenset({"BACKOFF", "FATAL", "UNHEALTHY"})
#: States on the way to another one.
PASSING = frozenset({"STARTING", "STOPPING", "DRAINING"})
#: With more processes than this a terminal shows a tally in place of a line each.
FEW = 20
#: Where lines stay, what is waited for is said this seldom (wall seconds).
PLAIN_WAIT_S = 5.0
CLEAR = "\r\x1b[2K"


@dataclass(slots=True)
class Progress:
    """Prints to `stream`; a reader that is gone costs the words, never the operation.

    `every_state`: each change of state is a line (on a terminal each state that lasts, of few processes), else only
    troubles are.
    """

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
            if self._stays(line["state"]):
                self.say(line["message"])
            else:
                self._transient(self._tally())
        elif line.get("waiting"):
            self._wait(line["message"])
        elif line.get("message"):
            self.say(line["message"])

    def say(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        self._write(text + "\n")

    def clear(self) -> None:
        """Take the rewritten line away."""
        if self._dirty:
            self._write(CLEAR)
            self._dirty = False

    def _stays(self, state: str) -> bool:
        if not self.every_state:
            return state in NOTABLE
        return not self._ansi or state in NOTABLE or (state not in PASSING and len(self._states) <= FEW)

    def _tally(self) -> str:
        return ", ".join(f"{number} {state}" for state, number in Counter(self._states.values()).items())

    def _wait(self, text: str) -> None:
        if self._ansi:
            self._transient(text)
        elif self.now() - self._waited >= PLAIN_WAIT_S:
            self._waited = self.now()
            self.say(text)

    def _transient(self, text: str) -> None:
        if self._ansi:
            width = width_of(self.stream) or 80
            self._dirty = True
            self._write(CLEAR + text[: width - 1])

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:
            silence(self.stream)


def print_line(text: str) -> None:
    """A line on stdout, at once. BrokenPipeError when its reader, or the terminal, is gone."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError as error:
        raise BrokenPipeError(*error.args) if error.errno == errno.EIO else error from None


def silence(stream: TextIO) -> None:
    """Let what is still written to `stream`, whose reader or terminal is gone, go nowhere."""
    sink = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):  # a stream without a file of its own has nothing to flush
        os.dup2(sink, stream.fileno())
    os.close(sink)


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
