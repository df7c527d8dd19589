"""One of several workers that share a port: where it alone tells of itself. Must not know what it answers.

Who asks on the shared port is answered by any of them; the launcher and Prometheus want each by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

from config.access import Access, Patience
from services.connection import Connection
from services.http import about
from services.service import Service
from services.traffic import Traffic
from services.visits import Visits


@dataclass(frozen=True, slots=True)
class Worker:
    """Its number among the workers, from 0, and the listening socket on which it tells of itself only."""

    number: int
    own: socket.socket


@contextlib.asynccontextmanager
async def telling(service: Service, worker: Worker, access: Access, patience: Patience) -> AsyncIterator[None]:
    """Within it `/health` and `/metrics` of `service` are answered on the worker's own socket, closed at its end."""
    runner, visits = web.AppRunner(about(service, Traffic(), access), access_log=None), Visits(patience)
    await runner.setup()
    loop = asyncio.get_running_loop()
    server = runner.server
    if server is None:
        raise RuntimeError("the runner was not set up")
    try:
        listener = await loop.create_server(lambda: Connection(server, visits=visits, loop=loop), sock=worker.own)
        try:
            yield
        finally:
            listener.close()
    finally:
        await runner.cleanup()
        visits.close()
