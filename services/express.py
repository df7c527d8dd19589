"""A connection with a fast lane: plain requests for busy paths are answered from their bytes, all others as by aiohttp.

One request at a time, in the order in which they came, whichever way they go. aiohttp reads only what does not go the
fast way, which `services.courier` decides. Must not know any service.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from services.connection import Connection
from services.courier import Courier
from services.lane import Begun, Lane


class Express(Connection):
    """See the module; `lane` answers, and all connections of a service share it."""

    __slots__ = ("_courier", "data_received")

    def __init__(self, server: web.Server, lane: Lane, **more: Any) -> None:
        super().__init__(server, **more)
        self._courier = Courier(self, lane, self._loop)
        #: See asyncio.Protocol. The loop calls this for each request: with nothing in between.
        self.data_received = self._courier.received  # type: ignore[method-assign]

    def usual(self, data: bytes) -> None:
        """Gives `data` to aiohttp."""
        super().data_received(data)

    def whole(self) -> None:
        """What was begun has come, and did not go to aiohttp."""
        self._note(whole=True)

    def partly(self) -> None:
        """Something was begun, which did not go to aiohttp."""
        if not self._unfinished:
            self._note(whole=False)

    def _process_keepalive(self) -> None:
        if self._courier.doing is not None:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def send_away(self, status: int) -> bool:
        """See services.visits.Visit."""
        if self._courier.doing is not None and self.transport is not None:
            return False
        return super().send_away(status)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol; what is being done is done to its end, as by aiohttp."""
        self._courier.leave()
        super().connection_lost(exc)

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109  aiohttp's
        """See aiohttp: what is being answered still is, within `timeout` (wall seconds)."""
        doing = self._courier.doing
        if doing is not None:
            self._force_close = True  # nothing new
        if isinstance(doing, Begun):
            await doing.end(timeout)
        elif doing is not None:
            _, late = await asyncio.wait({doing}, timeout=timeout)
            for each in late:
                each.cancel()
        await super().shutdown(timeout)
