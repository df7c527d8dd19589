"""A real HTTP server that answers POST /charge as a test tells it to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler, get: Handler | None = None) -> AsyncIterator[str]:
    """The server's URL while it runs; `get` answers every GET."""
    app = web.Application()
    app.router.add_post("/charge", handler)
    if get is not None:
        app.router.add_get("/{path:.*}", get)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def accept(_request: web.Request) -> web.Response:
    """202, from substation1."""
    return web.json_response({"routed_to": "substation1", "response": {"status": "charging started"}}, status=202)
