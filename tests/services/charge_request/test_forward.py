"""The way to a balancer whose address changes, as a container's does when it restarts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from services.charge_request.exchange import CONNECT_S
from services.charge_request.forward import Forward
from services.charge_request.reply import Reply
from tests.services.grid import BUSY_S, a_grid


class Moving(AbstractResolver):
    """Gives one address after the other for any name, the last one for ever."""

    def __init__(self, *hosts: str) -> None:
        self.left = list(hosts)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        return [
            ResolveResult(
                hostname=host, host=found, port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    async def close(self) -> None: ...


@contextmanager
def nobody(port: int) -> Iterator[None]:
    """`port` of 127.0.0.2, where a connection is neither taken nor refused, like at an address that nobody has any more."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.2", port))
        full.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield


async def test_a_balancer_that_came_back_at_another_address_is_found_there() -> None:
    async def route(_: web.Request) -> web.Response:
        return web.json_response({}, status=202)

    async with a_grid() as grid:
        app = web.Application()
        app.router.add_post("/route", route)
        port = URL(await grid.serve_app("balancer", app)).port or 0
        forward = Forward([f"http://balancer:{port}"], resolver=Moving("127.0.0.2", "127.0.0.1"))
        await forward.start()
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        try:
            with nobody(port):
                reply = await forward.send(b"{}", now_s() + 30)
        finally:
            await forward.stop()
        assert isinstance(reply, Reply)
        assert reply.status == 202
        assert CONNECT_S * 0.9 < now_s() - began_s < CONNECT_S + BUSY_S
