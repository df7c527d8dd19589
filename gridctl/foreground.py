"""`up` while it lasts: stays until the grid ends or Ctrl-C stops it; a second one kills. Must not know topologies."""

from __future__ import annotations

import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

from config.errors import GridError, NotRunning
from gridctl.clusters import await_end, running
from gridctl.console import uses_ansi
from gridctl.control import Control, control_at
from gridctl.declaration import Declaration
from gridctl.launch import Supervisor, launch, settled
from gridctl.progress import Progress, operate, shown, silence
from gridctl.state import ClusterPaths
from gridctl.unborn import Unborn

#: As a shell reports a process that a signal ended.
SIGNALLED = 128
#: A supervisor that is silent for this long does not hold up Ctrl-C any longer (wall seconds).
HUNG_S = 1.5
CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Ctrl-C, SIGTERM or SIGHUP came; must not be caught by anything on the way."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise Interrupted(number)


@contextmanager
def _heedful_of_the_reader() -> Iterator[None]:
    """Within it, BrokenPipeError comes as soon as stdout's reader is gone, not only when something is written."""

    def gone(_number: int, _frame: FrameType | None) -> None:
        raise BrokenPipeError

    def watch() -> None:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # errors and hang-ups are always told
        if poll.poll():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGPIPE)

    before = signal.signal(signal.SIGPIPE, gone)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)


@dataclass(slots=True)
class Foreground:
    """One grid and the command that brings it up; with `detach` the grid outlives the command."""

    control: Control
    paths: ClusterPaths
    detach: bool
    supervisor: Supervisor | None = None
    unborn: Unborn | None = None

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Within it, a signal stops the grid and ends the block with 128 + its number; so does a reader that is gone.

        With `detach` a grid that ran before is left as it is. A signal that is ignored stays so (nohup).
        """
        heeded = [number for number in CAUGHT if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, _interrupt) for number in heeded}
        try:
            try:
                yield
            except Interrupted as interrupt:
                self._stop_or_kill()
                raise SystemExit(SIGNALLED + interrupt.number) from None
            except BrokenPipeError:
                silence(sys.stdout)
                if not self.detach:
                    self._stop_or_kill()
        finally:
            self._drop()
            for number, handler in before.items():
                signal.signal(number, handler)

    def prepare(self) -> None:
        """Have a supervisor import what it needs, if one is needed, while the caller sees to what else must be known."""
        if running(self.paths):
            self._drop()
        elif self.unborn is None:
            with suppress(OSError):  # `start` tries again, and says what is wrong
                self.unborn = Unborn()

    def start(self, declaration: Declaration) -> bool:
        """See to it that there is a supervisor; whether it was started here, with what was declared.

        One that is going down is waited for. Invalid where one that is started finds the declaration wrong.
        """
        with shown() as progress:
            if settled(self.control, self.paths, progress.show):
                self._drop()
                return False
        unborn, self.unborn = self.unborn, None
        self.supervisor = launch(self.paths, unborn, declaration)
        return True

    def _drop(self) -> None:
        """Somebody else was faster, or what was declared is wrong."""
        unborn, self.unborn = self.unborn, None
        if unborn is not None:
            unborn.drop()

    def let_go(self) -> None:
        """From now on the grid outlives this process."""
        if self.supervisor is not None:
            self.supervisor.let_go()

    def stay(self) -> None:
        """Show the live table (plain lines of what happens where there is no terminal) until the grid ends."""
        if uses_ansi(sys.stdout) and sys.stdin is not None and sys.stdin.isatty():
            self._watch()
        else:
            self._follow()

    def _watch(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

        from gridctl.top.live import Hooks, watch  # noqa: PLC0415

        hooks = Hooks(footer=lambda: "Ctrl-C stops the grid", on_quit=lambda: None)
        code = watch(control_at(self.paths, HUNG_S).snapshot, console=Console(), hooks=hooks)
        if code > SIGNALLED:
            raise Interrupted(code - SIGNALLED)

    def _follow(self) -> None:
        with suppress(GridError), _heedful_of_the_reader():
            seen = max((event["seq"] for event in self.control.events()), default=0)
            for event in self.control.events(since=seen, follow=True):
                if event["event"] == "state":
                    reason = f" ({event['reason']})" if event["reason"] else ""
                    sys.stdout.write(f"{event['ts']} {event['name']} {event['from']} → {event['to']}{reason}\n")
                    sys.stdout.flush()

    def stop(self, **args: Any) -> None:
        """Take the grid down; it may be gone already."""
        with shown() as progress, suppress(NotRunning):
            operate(self.control, "down", progress, **args)
            await_end(self.paths)

    def _stop_or_kill(self) -> None:
        if self.detach and self.supervisor is None:
            return
        try:
            Progress().say(f"stopping {self.paths.name}; Ctrl-C again kills it")
            self.stop()
        except Interrupted:
            for number in CAUGHT:
                signal.signal(number, signal.SIG_IGN)
            self._kill()

    def _kill(self) -> None:
        Progress().say(f"killing {self.paths.name}")
        self.control = control_at(self.paths, HUNG_S)
        try:
            self.stop(stop_timeout_s=0.0)
        except GridError:
            if self.supervisor is None:
                raise
            self.supervisor.kill()  # it does not answer; without it none of its processes lives
            await_end(self.paths)
