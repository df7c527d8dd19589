"""The terminal while a live view has it: alternate screen, single keys, signals, size; must not know what is shown.

Everything is put back on the way out, whatever the way: keys are read in cbreak mode, and signals become events.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import threading
import tty
from collections import deque
from types import FrameType, TracebackType
from typing import Any, NamedTuple, TextIO

from rich.console import Console

#: Where a terminal tells no size.
USUAL_SIZE = (80, 24)

_KEYS = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[C": "down",
    b"\x1b[D": "up",
    b"\x1b[5~": "up",
    b"\x1b[6~": "down",
    b"\x1b[H": "home",
    b"\x1b[1~": "home",
    b"\x1b[F": "end",
    b"\x1b[4~": "end",
    b"k": "up",
    b"b": "up",
    b"j": "down",
    b" ": "down",
    b"g": "home",
    b"G": "end",
    b"q": "quit",
    b"Q": "quit",
}
#: Alternate screen and no cursor; and back, colours off.
_ENTER = "\x1b[?1049h\x1b[?25l"
_LEAVE = "\x1b[0m\x1b[?25h\x1b[?1049l"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGWINCH)


class Event(NamedTuple):
    """What happened: `key` (up, down, home, end, quit) or `signum`; the other is empty or 0."""

    key: str = ""
    signum: int = 0


class Terminal:
    """A context manager that holds the console's alternate screen.

    Keys come from `keys` if that is a terminal whose foreground we are. Signals are taken over in the main thread only:
    SIGINT, SIGTERM, SIGHUP, SIGTSTP and SIGWINCH come as events; elsewhere they are the caller's own affair.
    """

    def __init__(self, console: Console, keys: TextIO | None) -> None:
        self._console = console
        self._keys = _key_descriptor(keys)
        self._saved: tuple[int, list[Any]] | None = None
        self._handlers: dict[int, Any] = {}
        self._events: deque[Event] = deque()

    def __enter__(self) -> Terminal:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        try:
            if threading.current_thread() is threading.main_thread():
                self._take_signals()
            self._show()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._hide()
        finally:
            for signum, handler in self._handlers.items():
                signal.signal(signum, signal.SIG_DFL if handler is None else handler)
            os.close(self._reader)
            os.close(self._writer)

    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal as it is now."""
        try:
            columns, lines = os.get_terminal_size(self._console.file.fileno())
        except (OSError, ValueError):
            columns, lines = self._console.size
        return columns or USUAL_SIZE[0], lines or USUAL_SIZE[1]

    def write(self, text: str) -> None:
        """Write text and escape codes as they are, at once. A terminal that is gone counts as SIGHUP."""
        try:
            self._console.file.write(text)
            self._console.file.flush()
        except OSError:
            self._events.append(Event(signum=signal.SIGHUP))

    def wait(self, timeout_s: float) -> Event | None:
        """The next event, or None when there was none in `timeout_s` wall seconds."""
        if not self._events:
            sources = [self._reader] if self._keys is None else [self._reader, self._keys]
            ready, _, _ = select.select(sources, [], [], max(0.0, timeout_s))
            if self._reader in ready:
                os.read(self._reader, 1024)
            if self._keys in ready:
                self._read_keys()
        return self._events.popleft() if self._events else None

    def suspend(self) -> None:
        """Give the terminal back and stop until SIGCONT, as Ctrl-Z asks."""
        self._hide()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._show()

    def _read_keys(self) -> None:
        try:
            typed = os.read(self._keys, 256) if self._keys is not None else b""
        except OSError:
            typed = b""
        if not typed:
            self._keys = None
        self._events.extend(Event(key=key) for key in keys_in(typed))

    def _take_signals(self) -> None:
        for signum in _SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._handlers[signum] = signal.signal(signum, self._on_signal)

    def _on_signal(self, signum: int, _frame: FrameType | None) -> None:
        self._events.append(Event(signum=signum))
        os.write(self._writer, b"!")

    def _show(self) -> None:
        if self._keys is not None:
            self._saved = (self._keys, termios.tcgetattr(self._keys))
            tty.setcbreak(self._keys, termios.TCSADRAIN)
        self.write(_ENTER)

    def _hide(self) -> None:
        self.write(_LEAVE)
        if self._saved is None:
            return
        descriptor, settings = self._saved
        self._saved = None
        with contextlib.suppress(termios.error):  # a terminal that is gone has no settings to put back
            termios.tcsetattr(descriptor, termios.TCSADRAIN, settings)


def keys_in(typed: bytes) -> list[str]:
    """The keys in what was typed, in order; what means nothing is left out."""
    found: list[str] = []
    while typed:
        size = next((n for n in (4, 3, 1) if typed[:n] in _KEYS and len(typed) >= n), 0)
        if size:
            found.append(_KEYS[typed[:size]])
        typed = typed[size or _unknown_size(typed) :]
    return found


def _unknown_size(typed: bytes) -> int:
    """The bytes of an escape sequence that we do not know; 1 for anything else."""
    if not typed.startswith((b"\x1b[", b"\x1bO")):
        return 1
    return next((n + 1 for n in range(2, len(typed)) if 0x40 <= typed[n] <= 0x7E), len(typed))


def _key_descriptor(keys: TextIO | None) -> int | None:
    try:
        if keys is None or not keys.isatty():
            return None
        descriptor = keys.fileno()
        return descriptor if os.tcgetpgrp(descriptor) == os.getpgrp() else None
    except (OSError, ValueError):
        return None
