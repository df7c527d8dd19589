"""Takes connections from a socket that several workers share, so that each has about as many. Must not know HTTP.

The kernel gives a connection to whoever asks first, and who is awake asks for all that wait: of 64, one of two workers often
had none. Here each takes one at a time, and who has more than another leaves it to that one, for a moment.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

#: Who has more connections than another worker looks again after this (wall seconds), so many times …
STEP_S = 0.001
STEPS = 25
#: … and then takes what nobody took, and all else that comes within this: the others are busy, or not there.
ALONE_S = 0.5
#: No file is free for another connection: so long nobody is taken (wall seconds).
FULL_S = 1.0
_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = logging.getLogger(__name__)


class Turns:
    """Takes connections from the listening `sock`, from now until `close`; one event loop only.

    `connection` makes a protocol for each; `spare` says by how many connections this worker has fewer than the one that has
    the fewest besides it, given how many are about to be made: below 0 it has more. `left` is called at the end.
    """

    def __init__(
        self,
        sock: socket.socket,
        connection: Callable[[], asyncio.Protocol],
        spare: Callable[[int], int],
        left: Callable[[], None],
    ) -> None:
        self._sock, self._connection, self._spare, self._left = sock, connection, spare, left
        self._loop = asyncio.get_running_loop()
        self._making: set[asyncio.Task[None]] = set()
        self._waiting: asyncio.TimerHandle | None = None
        self._alone_until_s = 0.0
        sock.setblocking(False)
        self._loop.add_reader(sock, self._ready)

    def close(self) -> None:
        """Takes none any more and closes this process's copy of the socket; does nothing the second time."""
        if self._sock.fileno() < 0:
            return
        if self._waiting is None:
            self._loop.remove_reader(self._sock)
        else:
            self._waiting.cancel()
        self._sock.close()
        self._left()

    def _ready(self) -> None:
        if self._spare(len(self._making)) >= 0 or self._loop.time() < self._alone_until_s:
            self._take()
        else:
            self._pause(STEP_S, self._look, STEPS)

    def _look(self, steps: int) -> None:
        if self._spare(len(self._making)) < 0 and steps > 1:
            self._waiting = self._loop.call_later(STEP_S, self._look, steps - 1)
            return
        if steps <= 1:
            self._alone_until_s = self._loop.time() + ALONE_S
        self._resume()

    def _pause(self, wait_s: float, then: Callable[..., None], *more: int) -> None:
        self._loop.remove_reader(self._sock)
        self._waiting = self._loop.call_later(wait_s, then, *more)

    def _resume(self) -> None:
        self._waiting = None
        self._loop.add_reader(self._sock, self._ready)

    def _take(self) -> None:
        try:
            taken, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # another worker was faster, or it went
            return
        except OSError as error:
            if error.errno not in _FULL:
                raise
            _log.error("no connection can be taken", extra={"detail": error.strerror})
            self._pause(FULL_S, self._resume)
            return
        taken.setblocking(False)
        task = self._loop.create_task(self._make(taken))
        self._making.add(task)
        task.add_done_callback(self._making.discard)

    async def _make(self, taken: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._connection, taken)
        except OSError as error:
            _log.warning("a connection broke as it was taken", extra={"detail": str(error)})
            taken.close()
