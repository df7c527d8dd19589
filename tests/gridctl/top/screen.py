"""A terminal for tests: a pty, what stands on its screen, and a command that runs on it."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: Makes the pty of fd 1 the controlling terminal, so that Ctrl-C, Ctrl-Z and a changed size become signals.
_ADOPT = "import fcntl, os, sys, termios; fcntl.ioctl(1, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
_CODE = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|[^\x1b]")
_UNFINISHED = re.compile(r"\x1b(\[\??[\d;]*)?$")


class Screen:
    """What a terminal shows of the few codes that the live view writes; any other is an error."""

    def __init__(self, columns: int, lines: int) -> None:
        self.alternate = False
        self.cursor_shown = True
        self.below = ""
        self.scrolled = False
        self.resize(columns, lines)

    def resize(self, columns: int, lines: int) -> None:
        self.columns, self.height = columns, lines
        self.cells = [[" "] * columns for _ in range(lines)]
        self.row = self.column = 0

    @property
    def text(self) -> str:
        return "\n".join("".join(row).rstrip() for row in self.cells)

    def feed(self, text: str) -> None:
        for found in _CODE.finditer(text):
            private, numbers, verb = found.groups()
            if verb is None:
                self._put(found.group())
            elif private:
                self._mode(numbers, verb == "h")
            elif verb == "H":
                self.row, self.column = (int(n) - 1 for n in numbers.split(";"))
            elif verb == "J":
                self.resize(self.columns, self.height)
            elif verb == "K":
                self.below = self.below[: self.below.rfind("\n") + 1]
            else:
                assert verb == "m", found.group()

    def _mode(self, number: str, on: bool) -> None:
        if number == "1049":
            self.alternate = on
        else:
            assert number == "25"
            self.cursor_shown = on

    def _put(self, char: str) -> None:
        if not self.alternate:
            self.below += char
        elif self.row < self.height and self.column < self.columns:
            self.cells[self.row][self.column] = char
            self.column += 1
        else:
            self.scrolled = True


class Run:
    """A command on a pty of its own. Use it in a `with`: whatever still runs at the end is killed."""

    def __init__(
        self,
        arguments: Sequence[str],
        size: tuple[int, int] = (80, 24),
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
    ) -> None:
        self.master, self.slave = pty.openpty()
        self.screen = Screen(*size)
        self.resize(*size)
        self.settings = termios.tcgetattr(self.slave)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._pending = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ADOPT, sys.executable, *arguments],
            stdin=self.slave if stdin is None else stdin,
            stdout=self.slave,
            stderr=self.slave,
            env={**(os.environ if env is None else env), "TERM": "xterm-256color"},
            start_new_session=True,
        )

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(columns, lines)

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def until(self, condition: Callable[[], Any], timeout_s: float = 20) -> None:
        """Read what is written until the condition holds."""
        end = time.monotonic() + timeout_s
        while not condition():
            left = end - time.monotonic()
            assert left > 0, f"timed out; the screen shows:\n{self.screen.text}\n{self.screen.below}"
            if select.select([self.master], [], [], min(left, 0.05))[0]:
                self._read()

    def shows(self, *words: str) -> None:
        self.until(lambda: all(word in self.screen.text for word in words))

    def is_drawn(self) -> bool:
        return bool(self.screen.text.strip())

    def ends(self) -> int:
        """The exit code, once the process has ended and all it wrote was read."""
        self.until(lambda: self.process.poll() is not None)
        while select.select([self.master], [], [], 0)[0]:
            self._read()
        return self.process.wait()

    def _read(self) -> None:
        text = self._pending + self._decoder.decode(os.read(self.master, 65536))
        cut = _UNFINISHED.search(text)
        self._pending = text[cut.start() :] if cut else ""
        self.screen.feed(text[: cut.start()] if cut else text)
