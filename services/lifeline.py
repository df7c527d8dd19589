"""The socket to the launcher: orders come over it, and its end means that the launcher is gone.

Must not know what an order does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

#: Orders are a hundred bytes long, and each is sent whole.
_MOST_WAITING = 1 << 16

_log = logging.getLogger(__name__)


def die() -> None:
    """Ends this process at once: nobody is left who would stop it."""
    os._exit(1)


async def follow(
    lifeline: socket.socket, command: Callable[[Mapping[str, Any]], None], gone: Callable[[], None] = die
) -> None:
    """Reads orders (one JSON object a line) and hands each to `command`, until the other end closes: then `gone`.

    What is not a JSON object is logged and passed over. It is read without a stream in between: a thousand processes
    begin with this, and each has to copy all that it touches.
    """
    loop = asyncio.get_running_loop()
    ended, lines = loop.create_future(), _Lines(command)
    lifeline.setblocking(False)
    loop.add_reader(lifeline, _read, lifeline, lines, ended)
    try:
        await ended
    finally:
        loop.remove_reader(lifeline)
        lifeline.close()
    lines.end()
    gone()


def _read(lifeline: socket.socket, lines: _Lines, ended: asyncio.Future[None]) -> None:
    try:
        data = lifeline.recv(_MOST_WAITING)
    except BlockingIOError:
        return
    except OSError:
        data = b""
    if data:
        lines.take(data)
    elif not ended.done():
        ended.set_result(None)


class _Lines:
    """Cuts what comes into lines and obeys each; one that is too long is dropped."""

    def __init__(self, command: Callable[[Mapping[str, Any]], None]) -> None:
        self._command = command
        self._begun = b""
        self._dropping = False

    def take(self, data: bytes) -> None:
        """The next bytes."""
        *whole, begun = (self._begun + data).split(b"\n")
        for line in whole:
            self._ended(line)
        self._begun = begun
        if len(begun) > _MOST_WAITING:
            self._begun, self._dropping = b"", True

    def end(self) -> None:
        """No more will come: what was not ended is a line, too."""
        if self._begun or self._dropping:
            self._ended(self._begun)

    def _ended(self, line: bytes) -> None:
        if self._dropping or len(line) > _MOST_WAITING:
            _log.warning("an order was too long and was dropped")
        else:
            _obey(line, self._command)
        self._dropping = False


def obey_waiting(lifeline: socket.socket, command: Callable[[Mapping[str, Any]], None]) -> None:
    """Hands to `command` what was ordered before this process began; never waits."""
    lifeline.setblocking(False)
    with contextlib.suppress(BlockingIOError, ConnectionError):
        for line in lifeline.recv(_MOST_WAITING).splitlines():
            _obey(line, command)


def _obey(line: bytes, command: Callable[[Mapping[str, Any]], None]) -> None:
    try:
        order = json.loads(line)
    except (ValueError, RecursionError):
        order = None
    if not isinstance(order, dict):
        _log.warning("an order that is no JSON object was passed over", extra={"found": repr(line[:80])})
        return
    try:
        command(order)
    except Exception:  # noqa: BLE001  the line is what tells of the launcher's end: no order may cut it
        _log.exception("an order failed", extra={"order": order})
