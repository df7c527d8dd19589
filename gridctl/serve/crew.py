"""Several workers of one service, forked from here; they share its listening socket. Must not know what they answer.

Whoever started this process signals it alone: it passes that on, starts a worker anew that ended, and goes when all have.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import NoReturn

from gridctl.backoff import Backoff
from services import sheet
from services.run import needs
from services.worker import Worker

#: A worker that ran for so long (wall seconds) is started anew as if it had never crashed.
STABLE_S = 10.0
#: Where every worker ended so often in a row before that, and none runs, they cannot: this process ends too.
CRASHES = 5
_ENDING = (signal.SIGTERM, signal.SIGINT)
_OURS = (*_ENDING, signal.SIGCHLD)

#: Runs one worker in a process of its own; the socket's other end is held here.
Start = Callable[[Worker, socket.socket], int]


@dataclass(slots=True)
class _Post:
    """The place of one worker, whoever holds it."""

    number: int
    pid: int | None = None
    lifeline: socket.socket | None = None
    began_s: float = 0.0
    due_s: float = 0.0
    crashes: int = 0


@dataclass(slots=True)
class Crew:
    """`number` workers, each started by `start`. It takes the process over: signals and children are its own."""

    number: int
    start: Start
    backoff: Backoff = field(default_factory=Backoff)
    random: Random = field(default_factory=Random)
    _posts: list[_Post] = field(default_factory=list)
    _sheet: int = -1
    _received: signal.Signals | None = None

    def run(self, role: str) -> int:
        """Until SIGTERM or SIGINT and all workers have ended; 0, 130 for SIGINT, 1 where they cannot run."""
        for module in needs(os.environ, role):
            importlib.import_module(module)
        self._sheet = sheet.create()
        self._posts = [_Post(number) for number in range(self.number)]
        with _heard() as signals:
            while True:
                self._reap()
                if self._is_over():
                    return self._code()
                self._fill()
                for number in _next(signals, self._patience_s()):
                    self._pass_on(number)

    def _is_over(self) -> bool:
        if any(post.pid is not None for post in self._posts):
            return False
        return self._received is not None or all(post.crashes >= CRASHES for post in self._posts)

    def _code(self) -> int:
        if self._received is None:
            return 1
        return 130 if self._received is signal.SIGINT else 0

    def _fill(self) -> None:
        now_s = time.monotonic()
        if self._received is None:
            for post in self._posts:
                if post.pid is None and post.due_s <= now_s:
                    self._bear(post, now_s)

    def _patience_s(self) -> float | None:
        """Wall seconds until the next worker is to be started; None: there is none."""
        waiting = [post.due_s for post in self._posts if post.pid is None]
        return max(0.0, min(waiting) - time.monotonic()) if waiting and self._received is None else None

    def _bear(self, post: _Post, now_s: float) -> None:
        ours, theirs = socket.socketpair()
        signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)  # none is lost between two processes
        try:
            pid = os.fork()
            if pid == 0:
                ours.close()
                self._become(post.number, theirs)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)
        theirs.close()
        post.pid, post.lifeline, post.began_s = pid, ours, now_s

    def _become(self, number: int, lifeline: socket.socket) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for each in _OURS:
                signal.signal(each, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)
            os.setpgid(0, 0)  # Ctrl-C at a terminal comes once, through the process that started this one
            for post in self._posts:
                if post.lifeline is not None:
                    post.lifeline.close()
            status = self.start(Worker(number, sheet.Sheet(self._sheet)), lifeline)
        except BaseException:  # noqa: BLE001 - a forked child must never return into the loop of its parent
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(status)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._ended(*ended)

    def _ended(self, pid: int, status: int) -> None:
        post = next((post for post in self._posts if post.pid == pid), None)
        if post is None:
            return
        if post.lifeline is not None:
            post.lifeline.close()
        now_s = time.monotonic()
        post.pid = post.lifeline = None
        post.crashes = 1 if now_s - post.began_s >= STABLE_S else post.crashes + 1
        post.due_s = now_s + self.backoff.delay_s(post.crashes, self.random)
        if self._received is None:
            code = os.waitstatus_to_exitcode(status)
            why = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            sys.stderr.write(f"worker {post.number + 1} ended ({why}); it is started anew\n")

    def _pass_on(self, number: signal.Signals) -> None:
        if number not in _ENDING:
            return
        self._received = self._received or number
        for post in self._posts:
            if post.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(post.pid, number)


@contextmanager
def _heard() -> Iterator[socket.socket]:
    """What becomes readable at each signal of ours; its bytes are their numbers."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        before = {number: signal.signal(number, lambda *_: None) for number in _OURS}
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)


def _next(signals: socket.socket, patience_s: float | None) -> list[signal.Signals]:
    """What was heard, once there is something, or when patience ended."""
    select.select([signals], [], [], patience_s)
    with suppress(BlockingIOError):
        return [signal.Signals(number) for number in signals.recv(4096)]
    return []
