"""A connection with a fast lane: plain requests for busy paths are answered from their bytes, all others as by aiohttp.

One request at a time, in the order in which they came, whichever way they go. aiohttp reads only what does not go the
fast way; so that they never disagree about where a request begins, the fast way is taken only from a boundary that
both know of. Must not know any service.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from services.connection import Connection
from services.heads import END, Head
from services.lane import Begun, Lane
from services.tracing import apart

#: A longer request that does not come at once goes the usual way.
MOST_HELD = 1 << 14
#: What comes while a request is being answered waits; of more than this nothing is read.
MOST_LATER = 1 << 16


class Express(Connection):
    """See the module; `lane` answers, and all connections of a service share it."""

    __slots__ = ("_at_start", "_doing", "_held", "_lane", "_later")

    def __init__(self, server: web.Server, lane: Lane, **more: Any) -> None:
        self._lane = lane
        self._at_start = bool(lane.heads.starts)
        self._held = b""
        self._later = b""
        #: What is being answered; meanwhile all that comes waits.
        self._doing: asyncio.Task[None] | Begun | None = None
        super().__init__(server, **more)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._doing is not None:
            self._wait(data)
        elif not data:  # aiohttp goes on with what it has
            super().data_received(data)
        else:
            if self._held:
                data = self._release() + data
            if self._at_start and self._is_idle():
                self._take(data)
            else:
                self._pass(data)

    def _is_idle(self) -> bool:
        """Whether aiohttp waits for a request, would answer it as usual, and all former answers were taken."""
        waiter = self._waiter
        waits = not waiter.done() if waiter is not None else self._request_count == 0  # where it has yet to begin
        return (
            waits
            and self._request_handler is self._lane.plain
            and not (self._paused or self._upgraded or self._close or self._force_close or self._lane.traffic.stopping)
        )

    def _take(self, data: bytes) -> None:
        head, end = None, 0
        if data.startswith(self._lane.heads.starts):
            end = data.find(END) + len(END)
            head = self._lane.heads.find(data[:end])
        if head is None:
            self._pass(data)
            return
        size = end + head.length
        if len(data) >= size:
            self._begin(head, data[end:size], data[size:])
        elif size <= MOST_HELD:
            self._hold(data)
            if not self._unfinished:
                self._note(whole=False)
        else:
            self._pass(data)

    def _hold(self, data: bytes) -> None:
        """Keeps what is not a whole request yet; a service that stops waits for the rest, as for any that was begun."""
        self._held = data
        self._lane.traffic.began(1)

    def _release(self) -> bytes:
        held, self._held = self._held, b""
        self._lane.traffic.ended(1)
        return held

    def _pass(self, data: bytes) -> None:
        """Gives `data` to aiohttp. Where that is one whole request, the next one begins behind it."""
        count = self._request_count
        super().data_received(data)
        self._at_start = (
            self._at_start
            and self._request_count == count + 1
            and not self._unfinished
            and bool(self._messages)
            and len(data) == data.find(END) + len(END) + _length(self._messages[-1][0])
        )

    def _begin(self, head: Head, body: bytes, later: bytes) -> None:
        if self._unfinished:
            self._note(whole=True)
        if head.method == "GET":
            if not later and self.transport is not None and (said := apart().run(self._lane.at_once, head)) is not None:
                self.transport.write(said)
                self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
                return
        else:
            self._doing = self._lane.begin(head, body, self._hear)
        self._later = later
        if self._doing is None:  # the one before may have begun this one: it belongs to another request
            self._doing = self._loop.create_task(self._answer(head, body), context=apart())

    def _hear(self, said: bytes) -> None:
        """Takes all of the answer; others are told theirs next, so what waits behind it is for the loop's next turn."""
        goes_on = self._say(said)
        if goes_on and self._later:
            self._loop.call_soon(self._end, context=apart())
            return
        self._doing = None
        if goes_on:
            self._go_on()

    def _end(self) -> None:
        self._doing = None
        if self.transport is not None:
            self._go_on()

    async def _answer(self, head: Head, body: bytes) -> None:
        try:
            said = await self._lane.answer(head, body)
        except BaseException:
            self._doing = None
            self.force_close()
            raise
        self._doing = None
        if self._say(said):
            self._go_on()

    def _say(self, said: bytes) -> bool:
        """Whether there may be more to answer afterwards."""
        if self.transport is None:
            return False
        self.transport.write(said)
        if self._lane.traffic.stopping:
            self.force_close()
            return False
        return True

    def _go_on(self) -> None:
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._later:
            later, self._later = self._later, b""
            if self._buffer_paused:
                self._resume_reading_for_buffer()
            self.data_received(later)

    def _wait(self, data: bytes) -> None:
        self._later += data
        if len(self._later) >= MOST_LATER and not self._buffer_paused:
            self._pause_reading_for_buffer()

    def _process_keepalive(self) -> None:
        if self._doing is not None:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def send_away(self, status: int) -> bool:
        """See services.visits.Visit."""
        if self._doing is not None and self.transport is not None:
            return False
        return super().send_away(status)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol; what is being done is done to its end, as by aiohttp."""
        self._later = b""
        if self._held:
            self._release()
        super().connection_lost(exc)

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109  aiohttp's
        """See aiohttp: what is being answered still is, within `timeout` (wall seconds)."""
        doing = self._doing
        if doing is not None:
            self._force_close = True  # nothing new
        if isinstance(doing, Begun):
            await doing.end(timeout)
        elif doing is not None:
            _, late = await asyncio.wait({doing}, timeout=timeout)
            for each in late:
                each.cancel()
        await super().shutdown(timeout)


def _length(message: Any) -> int:
    """How much body the head of `message` announces; 0 for what could not be parsed."""
    headers = getattr(message, "headers", {})
    return int(headers.get("Content-Length", 0))
