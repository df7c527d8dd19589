"""A substation's first moments, lived through once for nobody. Must leave nothing behind: no process, thread, port or line.

Python counts references in the objects themselves, and specialises the code that it runs: whoever runs it writes to its
pages. What was written before a fork stays shared by all who are forked then; what each of them writes first is copied for
each. With this, a new substation has 2 MB less of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from pathlib import Path

from config.names import SUBSTATION
from config.settings import SubstationSettings
from monitoring.metrics import ServiceMetrics
from services.logs import DescriptorHandler, JsonLines, LogFile
from services.run import create, event_loop
from services.serving import serve
from services.substation.journal import SCHEMA

#: What a new substation is asked first: by the supervisor and by a balancer, a few times.
_ASKED = ("/health", "/report", "/sessions?ended=1&since_s=0")
_TIMES = 3
#: It takes some milliseconds; longer than this, and there will be none (wall seconds).
_PATIENCE_S = 2.0


def rehearse() -> None:
    """In a process that has no event loop and no logging yet; TimeoutError or OSError where it could not be done."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    nowhere = os.open(os.devnull, os.O_WRONLY)
    handler = DescriptorHandler(nowhere, LogFile(Path(os.devnull), descriptors=(nowhere,)))
    handler.setFormatter(JsonLines(SUBSTATION, SUBSTATION))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    try:
        with asyncio.Runner(loop_factory=event_loop()) as runner:
            runner.run(asyncio.wait_for(_rehearse(), _PATIENCE_S))
    finally:
        logging.basicConfig(handlers=handlers, level=level, force=True)
        os.close(nowhere)


async def _rehearse() -> None:
    SCHEMA.prepare()
    service = create(SUBSTATION, SubstationSettings())
    ServiceMetrics(service.registry, "unknown", 1.0, lambda: True)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    ours, theirs = socket.socketpair()
    served = asyncio.ensure_future(serve(service, listener, theirs))
    try:
        await _ask(port)
    finally:
        served.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await served
        listener.close()
        ours.close()  # only now: whoever is served ends with it


async def _ask(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for path in _ASKED * _TIMES:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, found, length = head.partition(b"content-length: ")
            await reader.readexactly(int(length.split(b"\r\n")[0]) if found else 0)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
