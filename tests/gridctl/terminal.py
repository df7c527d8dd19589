"""A real pseudo-terminal to write to, of a given width."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO


class Terminal:
    """`stream` writes to the terminal; `shown()` is what arrived there, with plain newlines."""

    def __init__(self, columns: int) -> None:
        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.stream: TextIO = os.fdopen(self._slave, "w")

    def shown(self) -> str:
        """All that was written so far (less than a terminal's buffer)."""
        self.stream.flush()
        os.set_blocking(self._master, False)
        found = b""
        while True:
            try:
                found += os.read(self._master, 65_536)
            except (BlockingIOError, OSError):
                return found.decode().replace("\r\n", "\n")

    def close(self) -> None:
        """Give both ends back."""
        self.stream.close()
        os.close(self._master)


@contextmanager
def terminal(columns: int) -> Iterator[Terminal]:
    """A terminal of `columns`, closed afterwards."""
    opened = Terminal(columns)
    try:
        yield opened
    finally:
        opened.close()


def gridctl(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the real `gridctl` with its output in pipes."""
    command = [sys.executable, "-m", "gridctl", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def gridctl_on(screen: Terminal, arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Run the real `gridctl` on a terminal; answers its exit code."""
    command = [sys.executable, "-m", "gridctl", *arguments]
    return subprocess.run(
        command, env=env, stdout=screen.stream, stderr=screen.stream, timeout=60, check=False
    ).returncode
