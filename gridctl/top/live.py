"""The live loop of `gridctl top` and of `gridctl up` in the foreground; must not know where snapshots come from."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from rich.console import Console

from config.errors import GridError, NotRunning
from gridctl.top.bars import glyphs_for
from gridctl.top.layout import frame
from gridctl.top.paint import Brush
from gridctl.top.spans import Line
from gridctl.top.terminal import Event, Terminal

INTERVAL_S = 0.5
#: What a shell shows for a process that a signal ended.
SIGNAL_EXIT = 128

Fetch = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the caller adds to the loop.

    `footer` gives the word in the last line. `until` ends the loop, with 0, as soon as it is true. `on_signal` is asked what
    SIGINT, SIGTERM or SIGHUP mean, and `on_quit` what `q` means: an exit code ends the loop, None goes on.
    """

    footer: Callable[[], str] = lambda: "q quits"
    until: Callable[[], bool] = lambda: False
    on_signal: Callable[[int], int | None] = lambda signum: SIGNAL_EXIT + signum
    on_quit: Callable[[], int | None] = lambda: 0
    #: Printed when the cluster ended while it was watched; nothing when empty.
    farewell: str = "grid stopped"


def watch(
    fetch: Fetch,
    *,
    console: Console,
    interval_s: float = INTERVAL_S,
    hooks: Hooks = Hooks(),
    keys: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Show what `fetch` gives, anew each `interval_s` wall seconds, on the console's alternate screen; answer an exit code.

    0: `q`, `hooks.until`, or the cluster ended (fetch raised NotRunning after the first time); 130: Ctrl-C (see Hooks).
    Any other GridError of fetch leaves the last frame in place and is shown below it. `keys` is where keys are read, stdin
    unless given. May run in a thread: signals are then the caller's affair. Raises what the first fetch raises.
    """
    view = _View(console, fetch())
    with Terminal(console, sys.stdin if keys is None else keys) as terminal:
        code = _loop(view, fetch, terminal, hooks, (interval_s, clock))
    if code is not None:
        return code
    if hooks.farewell:
        console.print(hooks.farewell, highlight=False)
    return 0


def _loop(
    view: _View, fetch: Fetch, terminal: Terminal, hooks: Hooks, pace: tuple[float, Callable[[], float]]
) -> int | None:
    """The exit code; None when the cluster ended."""
    interval_s, clock = pace
    due_s = clock() + interval_s
    while not hooks.until():
        view.draw(terminal, hooks.footer())
        # asked at least once a round: where drawing takes longer than the interval, keys and signals still count
        while (event := terminal.wait(max(0.0, due_s - clock()))) or clock() < due_s:
            code = _react(event, view, terminal, hooks) if event else None
            if code is not None:
                return code
            if event:
                view.draw(terminal, hooks.footer())
        due_s = max(due_s + interval_s, clock() + interval_s / 2)
        try:
            view.take(fetch())
        except NotRunning:
            return None
        except GridError as error:
            view.trouble = error.message
    return 0


def _react(event: Event, view: _View, terminal: Terminal, hooks: Hooks) -> int | None:
    if event.key == "quit":
        return hooks.on_quit()
    if event.key:
        view.turn(event.key)
    elif event.signum == signal.SIGTSTP:
        terminal.suspend()
        view.forget()
    elif event.signum != signal.SIGWINCH:
        return hooks.on_signal(event.signum)
    return None


@dataclass
class _View:
    """What is on the screen now, so that only lines that changed are written."""

    console: Console
    snapshot: Mapping[str, Any]
    trouble: str = ""
    page: int = 0
    pages: int = 1
    _size: tuple[int, int] = (0, 0)
    _drawn: list[Line | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._brush = Brush(self.console)
        self._glyphs = glyphs_for(self.console.encoding)

    def take(self, snapshot: Mapping[str, Any]) -> None:
        """Show this snapshot from now on."""
        self.snapshot, self.trouble = snapshot, ""

    def turn(self, key: str) -> None:
        """Turn the page."""
        target = {"up": self.page - 1, "down": self.page + 1, "home": 0, "end": self.pages - 1}[key]
        self.page = max(0, min(target, self.pages - 1))

    def forget(self) -> None:
        """Take the screen for empty: the next drawing writes all of it."""
        self._size = (0, 0)

    def draw(self, terminal: Terminal, footer: str) -> None:
        """Bring the screen to the snapshot with one write."""
        size = terminal.size()
        shown = frame(self.snapshot, *size, glyphs=self._glyphs, page=self.page, footer=self.trouble or footer)
        self.page, self.pages = shown.page, shown.pages
        out: list[str] = []
        if size != self._size:
            out.append("\x1b[0m\x1b[2J")
            self._size, self._drawn = size, [None] * size[1]
        lines = [*shown.lines, *[()] * (size[1] - len(shown.lines))]
        for number, line in enumerate(lines):
            if line != self._drawn[number]:
                out.append(f"\x1b[{number + 1};1H{self._brush.line(line, size[0])}")
        self._drawn = list(lines)
        if out:
            terminal.write("".join(out))
