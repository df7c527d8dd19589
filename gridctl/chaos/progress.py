"""How far chaos is: a line a fault and, on a terminal, one line that is rewritten. Must not know how anything is done."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import TextIO

from gridctl.chaos.timeline import Step
from gridctl.console import uses_ansi, width_of
from gridctl.loadtest.quantities import spoken
from gridctl.loadtest.tally import Tally

#: How often the line is rewritten (wall seconds).
REFRESH_S = 0.25
_CLEAR = "\r\x1b[2K"


class Progress:
    """Prints to `stream`, which goes on for `duration_s` wall seconds."""

    def __init__(self, stream: TextIO, duration_s: float, environ: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._duration_s = duration_s
        self._ansi = uses_ansi(stream, environ)
        self._width = width_of(stream, environ) or 80
        self._dirty = False

    def begins(self, step: Step, elapsed_s: float) -> None:
        """A fault begins."""
        self.say(f"{elapsed_s:6.1f} s  {step.words}")

    def say(self, text: str) -> None:
        """Print a line for good."""
        self.clear()
        self._stream.write(text + "\n")
        self._stream.flush()

    def show(self, tally: Tally, on: Collection[Step], elapsed_s: float) -> None:
        """Rewrite the line; nothing where there is no terminal."""
        if not self._ansi:
            return
        text = line(tally, on, elapsed_s, self._duration_s)
        self._stream.write(_CLEAR + text[: self._width - 1])
        self._stream.flush()
        self._dirty = True

    def clear(self) -> None:
        """Take the line away."""
        if self._dirty:
            self._stream.write(_CLEAR)
            self._stream.flush()
            self._dirty = False


def line(tally: Tally, on: Collection[Step], elapsed_s: float, duration_s: float) -> str:
    """`12 s of 60 s · 590 sent · 571 accepted · 12 refused · 7 failed · now: pause substation2`."""
    parts = [f"{spoken(float(int(elapsed_s)))} of {spoken(duration_s)}"]
    if tally.sent:
        counts = (("accepted", tally.accepted), ("refused", tally.refused), ("failed", tally.failed))
        parts += [f"{tally.sent} sent", *(f"{count} {word}" for word, count in counts)]
    if on:
        parts.append("now: " + ", ".join(f"{step.kind} {step.target}" for step in on))
    return " · ".join(parts)
