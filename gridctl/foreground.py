"""`up` in the foreground: stays until the grid ends or Ctrl-C stops it; a second one kills. Must not know topologies."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from config.errors import GridError, NotRunning
from gridctl.console import uses_ansi
from gridctl.control import Control
from gridctl.launch import await_end
from gridctl.progress import Progress, operate

#: As a shell reports a process that a signal ended.
SIGNALLED = 128


class Interrupted(BaseException):
    """Ctrl-C, SIGTERM or SIGHUP came; must not be caught by anything on the way."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise Interrupted(number)


@dataclass(slots=True)
class Foreground:
    """One attached grid; `leash` is the pipe whose end tells its supervisor that this process is gone."""

    control: Control
    name: str
    leash: int | None = None
    exit_code: int = 0

    @contextmanager
    def interruptible(self, stop_on_interrupt: bool) -> Iterator[None]:
        """Within it, a signal stops the grid (if `stop_on_interrupt`) and ends the block with 128 + its number."""
        caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, _interrupt) for number in caught}
        try:
            yield
        except Interrupted as interrupt:
            self.exit_code = SIGNALLED + interrupt.number
            if stop_on_interrupt:
                self._stop_or_kill()
            raise SystemExit(self.exit_code) from None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stay(self) -> None:
        """Show the live table (plain lines of what happens where there is no terminal) until the grid ends."""
        if uses_ansi(sys.stdout) and sys.stdin.isatty():
            self._watch()
        else:
            self._follow()

    def _watch(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

        from gridctl.top.live import Hooks, watch  # noqa: PLC0415

        hooks = Hooks(footer=lambda: "Ctrl-C stops the grid", on_quit=lambda: None)
        code = watch(self.control.snapshot, console=Console(), hooks=hooks)
        if code > SIGNALLED:
            raise Interrupted(code - SIGNALLED)

    def _follow(self) -> None:
        try:
            for event in self.control.events(follow=True):
                if event["event"] == "state":
                    reason = f" ({event['reason']})" if event["reason"] else ""
                    sys.stdout.write(f"{event['ts']} {event['name']} {event['from']} → {event['to']}{reason}\n")
                    sys.stdout.flush()
        except GridError:
            return

    def stop(self, **args: float) -> None:
        """Take the grid down; it may be gone already."""
        progress = Progress()
        try:
            operate(self.control, "down", progress, **args)
            if self.control.paths is not None:
                await_end(self.control.paths)
        except NotRunning:
            return
        finally:
            progress.clear()

    def _stop_or_kill(self) -> None:
        progress = Progress()
        progress.say(f"stopping {self.name}; Ctrl-C again kills it")
        try:
            self.stop()
        except Interrupted:
            progress.say(f"killing {self.name}")
            self.stop(stop_timeout_s=0.0)
        finally:
            if self.leash is not None:
                os.close(self.leash)
                self.leash = None
