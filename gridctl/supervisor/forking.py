"""The supervisor's side of the zygote: keeps one alive and asks it for processes. Must not know what they are for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from config.errors import GridError
from gridctl import kernel
from gridctl.zygote import Newborn

#: The first answer waits for the zygote's imports, on a busy machine.
ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class Command:
    """A program to be run in place of a service: its arguments, the program's path first, and variables to add."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Birth:
    """What a new service is told, and the sockets it gets; or the `command` of somebody else's program in its place.

    A worker, number `worker` of those that share `listener`, has its `own` port and their `sheet` of memory beside it.
    """

    name: str
    role: str
    cluster: str
    settings: Mapping[str, Any]
    log_file: Path
    listener: socket.socket
    lifeline: socket.socket
    command: Command | None = None
    worker: int | None = None
    own: socket.socket | None = None
    sheet: int | None = None

    @property
    def descriptors(self) -> list[int]:
        """What is sent along, in the order that the zygote knows."""
        sockets = [each.fileno() for each in (self.listener, self.lifeline, self.own) if each is not None]
        return sockets if self.sheet is None else [*sockets, self.sheet]


@dataclass(slots=True)
class Zygote:
    """One zygote process, started when first needed and again when it died. Use from the event loop's thread only.

    `first` was forked before there was a loop. One that does not answer within `answer_s` wall seconds is killed: it hangs.
    """

    loop: asyncio.AbstractEventLoop
    on_death: Callable[[int], None] = lambda _pid: None
    pid: int | None = None
    answer_s: float = ANSWER_S
    first: Newborn | None = None
    _link: socket.socket | None = None
    _buffer: bytes = b""
    _next: int = 0
    _waiting: dict[int, asyncio.Future[int]] = field(default_factory=dict)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(16))

    def start(self) -> socket.socket:
        """Start the process, unless there is one, and answer the link to it; it imports while the caller goes on."""
        if self._link is not None:
            return self._link
        born, self.first = self.first or self._execute(), None
        self.pid, self._link, self._buffer = born.pid, born.link, b""
        born.link.setblocking(False)
        self.loop.add_reader(born.link.fileno(), self._readable, born.link)
        return born.link

    def _execute(self) -> Newborn:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", "gridctl.zygote", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                # before its first import: until it listens, the sockets that were sent to it live as long as it does
                preexec_fn=partial(_die_with, os.getpid()),  # noqa: PLW1509 - the supervisor has no threads
            )
        process.returncode = 0  # the supervisor's reaper collects it, not Popen
        return Newborn(process.pid, ours)

    async def spawn(self, birth: Birth) -> int:
        """The PID of a new service; GridError when the zygote died or did not answer in time."""
        async with self._turns:
            return await self._ask(birth)

    async def _ask(self, birth: Birth) -> int:
        self._next += 1
        number, future = self._next, self.loop.create_future()
        self._waiting[number] = future
        request = {
            "id": number,
            "name": birth.name,
            "role": birth.role,
            "cluster": birth.cluster,
            "settings": dict(birth.settings),
            "log_file": str(birth.log_file),
            "command": asdict(birth.command) if birth.command else None,
            "worker": birth.worker,
        }
        try:
            line = json.dumps(request).encode() + b"\n"
            socket.send_fds(self._link or self.start(), [line], birth.descriptors)
            return await asyncio.wait_for(future, self.answer_s)
        except TimeoutError:
            self._end()  # it hangs: the next one starts anew, and what this one may still fork finds its lifeline closed
            raise GridError(f"{birth.name}: the zygote did not answer within {self.answer_s:g} s") from None
        except OSError as error:
            raise GridError(f"{birth.name}: the zygote cannot be asked: {error}") from error
        finally:
            self._waiting.pop(number, None)

    def _readable(self, link: socket.socket) -> None:
        try:
            data = link.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            self._answered(json.loads(line))

    def _answered(self, answer: dict[str, Any]) -> None:
        future = self._waiting.get(answer["id"])
        if future is None or future.done():
            return
        if "pid" in answer:
            future.set_result(int(answer["pid"]))
        else:
            future.set_exception(GridError(str(answer.get("error", "the zygote refused"))))

    def _end(self) -> None:
        if self._link is not None and self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # not reaped while the link is open, so the PID is surely its own
        self.close()

    def close(self) -> None:
        """Drop the link: the zygote ends, and whoever waits for an answer is told so. The next spawn starts another."""
        if self._link is None:
            return
        self.loop.remove_reader(self._link.fileno())
        self._link.close()
        self._link = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(GridError("the zygote died"))
        if self.pid is not None:
            self.on_death(self.pid)


def _die_with(supervisor: int) -> None:
    kernel.die_with_parent(signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)


def exits() -> list[tuple[int, int]]:
    """Every child that ended since the last call, as (pid, exit code or minus signal)."""
    found: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found.append((pid, os.waitstatus_to_exitcode(status)))
