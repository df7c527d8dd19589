"""One worker: a process that sends its share of a run and tells its parent of it. Must not know the other workers.

What goes over the socket between them: messages with their length before them; pickled, since both ends are one program.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from gridctl.loadtest.arrivals import Share
from gridctl.loadtest.engine import Report
from gridctl.loadtest.sending import Account, Sender
from gridctl.loadtest.setup import Setup

#: A worker tells what came meanwhile so often (wall seconds), also where nothing did: then it is there.
EVERY_S = 0.25

_LENGTH = struct.Struct("!Q")


class Begin(NamedTuple):
    """To a worker: send, from this moment of the monotonic clock on."""

    start_s: float


class Stop(NamedTuple):
    """To a worker: send no more, and wait a moment for what is in flight."""


class Ready(NamedTuple):
    """From a worker, when it is there."""


class Part(NamedTuple):
    """From a worker: what came since the part before; the `last` one has all figures."""

    account: Account
    last: bool = False


class Broken(NamedTuple):
    """From a worker: it cannot go on."""

    error: Exception


async def receive(reader: asyncio.StreamReader) -> Any:
    """The next message; None where there is none any more."""
    try:
        size = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))[0]
        return pickle.loads(await reader.readexactly(size))  # noqa: S301 - from our own fork, by a socket of ours alone
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def message(what: Begin | Stop | Ready | Part | Broken) -> bytes:
    """The bytes of one message."""
    data = pickle.dumps(what, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


def work(own: socket.socket, others: Sequence[socket.socket], setup: Setup, report: Report, share: Share) -> None:
    """The whole life of a worker, in a process of its own; `others` are ends of sockets that are not its own.

    Ctrl-C goes to all processes of a terminal: only the parent listens to it.
    """
    import uvloop  # noqa: PLC0415 - the parent looks at flags first

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for other in others:
        other.close()  # else nobody would notice when their owner is gone
    with suppress(asyncio.CancelledError):
        uvloop.run(_work(own, setup, report, share))
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads it any more, and the parent knows
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _work(own: socket.socket, setup: Setup, report: Report, share: Share) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=own)
    sender = Sender(setup, report, share)
    writer.write(message(Ready()))
    begin = await receive(reader)
    if not isinstance(begin, Begin):  # the parent is gone, or was told to stop before it began
        return
    listening = asyncio.create_task(_listen(reader, sender, asyncio.current_task()))
    telling = asyncio.create_task(_tell(writer, sender))
    try:
        last = message(Part(await sender.send(begin.start_s), last=True))
    except Exception as error:  # noqa: BLE001 - the parent raises it
        last = message(Broken(error))
    telling.cancel()
    listening.cancel()
    with suppress(ConnectionError):  # the parent is gone
        writer.write(last)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def _listen(reader: asyncio.StreamReader, sender: Sender, main: asyncio.Task[Any] | None) -> None:
    """Until the parent is gone: nobody is there to be told, then."""
    while await receive(reader) is not None:
        sender.interrupt()
    if main is not None:
        main.cancel()


async def _tell(writer: asyncio.StreamWriter, sender: Sender) -> None:
    while True:
        await asyncio.sleep(EVERY_S)
        writer.write(message(Part(sender.take())))
