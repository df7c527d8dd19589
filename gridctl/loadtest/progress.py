"""What a run looks like while it goes on, on stderr: a live bar on a terminal, a few plain lines elsewhere.

Must not know how orders are sent. Nothing runs in a thread of its own: the run calls `show` from its loop.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol, TextIO

from gridctl.console import uses_ansi, width_of
from gridctl.loadtest.quantities import spoken
from gridctl.loadtest.summary import bar
from gridctl.loadtest.tally import Tally

REFRESH_S = 0.25
PLAIN_EVERY_S = 10.0
#: Mini bars are shown for so many substations at most.
BARS = 8


class Progress(Protocol):
    """Shows how far a run is."""

    every_s: float

    def show(self, tally: Tally, elapsed_s: float) -> None:
        """Show the state `elapsed_s` wall seconds after the start."""
        ...

    def say(self, line: str) -> None:
        """Print `line` for good, above what is live."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


def progress(stream: TextIO, expected: float, duration_s: float, environ: Mapping[str, str] = os.environ) -> Progress:
    """The live bar where `stream` is a terminal that can show one, else plain lines."""
    if uses_ansi(stream, environ):
        return LiveProgress(stream, expected, duration_s, width_of(stream, environ) or 80)
    return PlainProgress(stream, expected, duration_s)


def status(tally: Tally, expected: float, rate_per_s: float) -> str:
    """`120/150 sent · 0.5/s · 118 accepted · 2 refused · 0 failed`."""
    parts = [f"{tally.sent}/{max(tally.sent, round(expected))} sent", f"{rate_per_s:.3g}/s"]
    parts += [f"{tally.accepted} accepted", f"{tally.refused} refused", f"{tally.failed} failed"]
    waiting = tally.sent - tally.finished
    parts += [f"{waiting} waiting"] if waiting else []
    parts += [f"{100 * tally.late_share:.0f} % sent late: the load tester is the limit"] if tally.is_behind else []
    return " · ".join(parts)


class _Rate:
    """The rate of sending since a moment ago."""

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._seen: list[tuple[float, int]] = [(0.0, 0)]

    def at(self, elapsed_s: float, sent: int) -> float:
        self._seen.append((elapsed_s, sent))
        while len(self._seen) > 2 and self._seen[1][0] <= elapsed_s - self._span_s:
            self._seen.pop(0)
        since_s, before = self._seen[0]
        return (sent - before) / (elapsed_s - since_s) if elapsed_s > since_s else 0.0


class Silent:
    """Shows nothing of how far the run is."""

    every_s = 3600.0

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, line: str) -> None:
        """Print `line`."""
        self._stream.write(line + "\n")
        self._stream.flush()

    def show(self, tally: Tally, elapsed_s: float) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class PlainProgress(Silent):
    """A line now and then: at most some ten of a run, and none within the first seconds."""

    def __init__(self, stream: TextIO, expected: float, duration_s: float) -> None:
        self.every_s = max(PLAIN_EVERY_S, duration_s / 10)
        super().__init__(stream)
        self._expected = expected
        self._duration_s = duration_s
        self._rate = _Rate(self.every_s)

    def show(self, tally: Tally, elapsed_s: float) -> None:
        """Print one line."""
        if elapsed_s > 0:
            at = f"{spoken(elapsed_s)} of {spoken(self._duration_s)}"
            self.say(f"{at}: {status(tally, self._expected, self._rate.at(elapsed_s, tally.sent))}")


class LiveProgress:
    """Two lines that are redrawn in place: how far, and what each substation got."""

    every_s = REFRESH_S

    def __init__(self, stream: TextIO, expected: float, duration_s: float, width: int) -> None:
        from rich.console import Console  # noqa: PLC0415 - only a terminal pays for rich
        from rich.live import Live  # noqa: PLC0415

        self._expected = expected
        self._duration_s = duration_s
        self._rate = _Rate(5.0)
        console = Console(file=stream, width=width, force_terminal=True, highlight=False)
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()

    def show(self, tally: Tally, elapsed_s: float) -> None:
        """Redraw."""
        from rich.text import Text  # noqa: PLC0415

        share = min(1.0, tally.sent / self._expected) if self._expected else 1.0
        left_s = max(0.0, self._duration_s - elapsed_s)
        head = f"{bar(share, 20)} {100 * share:3.0f} %  {spoken(left_s)} left"
        lines = [head, status(tally, self._expected, self._rate.at(elapsed_s, tally.sent)), _mini_bars(tally)]
        cut = [Text(line, no_wrap=True, overflow="ellipsis", end="") for line in lines if line]
        self._live.update(Text("\n").join(cut), refresh=True)

    def say(self, line: str) -> None:
        """Print `line` above."""
        self._live.console.print(line, soft_wrap=True)

    def close(self) -> None:
        """Take the live lines away."""
        self._live.stop()


def _mini_bars(tally: Tally) -> str:
    counts = sorted((name, count) for name, count in tally.per_substation.items() if name)
    if not counts or len(counts) > BARS:
        return ""
    most = max(count for _, count in counts)
    return "  ".join(f"{name} {bar(count / most, 6).rstrip()} {count}" for name, count in counts)
