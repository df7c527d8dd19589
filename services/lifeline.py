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

    What is not a JSON object is logged and passed over.
    """
    reader, writer = await asyncio.open_unix_connection(sock=lifeline)
    try:
        async for line in _lines(reader):
            _obey(line, command)
    finally:
        writer.close()
    gone()


def obey_waiting(lifeline: socket.socket, command: Callable[[Mapping[str, Any]], None]) -> None:
    """Hands to `command` what was ordered before this process began; never waits."""
    lifeline.setblocking(False)
    with contextlib.suppress(BlockingIOError, ConnectionError):
        for line in lifeline.recv(_MOST_WAITING).splitlines():
            _obey(line, command)


async def _lines(reader: asyncio.StreamReader) -> Any:
    while True:
        try:
            line = await reader.readline()
        except ValueError:  # longer than the reader's limit; what was buffered is dropped
            _log.warning("an order was too long and was dropped")
            continue
        except ConnectionError:
            return
        if not line:
            return
        yield line


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
