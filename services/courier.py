"""Which way what comes on a connection goes: plain requests to the fast lane, all else to aiohttp.

aiohttp reads only what does not go the fast way; so that they never disagree about where a request begins, the fast way is
taken only from a boundary that both know of. Apart from `services.express`, which is aiohttp's own kind of class: each
request passes here. Must not know any service.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from services.heads import END, Head
from services.lane import Begun, Lane
from services.tracing import apart

#: A longer request that does not come at once goes the usual way.
MOST_HELD: Final = 1 << 14
#: What comes while a request is being answered waits; of more than this nothing is read.
MOST_LATER: Final = 1 << 16


class Courier:
    """Carries what comes on one `connection` (a `services.express.Express`) to the `lane`, and back what is answered."""

    __slots__ = (
        "_at_start",
        "_connection",
        "_heads",
        "_held",
        "_idle_s",
        "_lane",
        "_later",
        "_loop",
        "_traffic",
        "doing",
    )

    def __init__(self, connection: Any, lane: Lane, loop: asyncio.AbstractEventLoop) -> None:
        #: None once it is lost.
        self._connection: Any = connection
        self._lane = lane
        self._heads = lane.heads
        self._traffic = lane.traffic
        self._loop = loop
        self._idle_s = float(connection._keepalive_timeout)
        self._at_start = bool(lane.heads.starts)
        self._held = b""
        self._later = b""
        #: What is being answered; meanwhile all that comes waits.
        self.doing: asyncio.Task[None] | Begun | None = None

    def received(self, data: bytes) -> None:
        """See `asyncio.Protocol.data_received`."""
        connection = self._connection
        if connection is None:
            return
        if self.doing is not None:
            self._wait(data)
        elif not data:  # aiohttp goes on with what it has
            connection.usual(data)
        else:
            if self._held:
                data = self._release() + data
            if self._at_start and self._is_idle(connection):
                self._take(data)
            else:
                self._pass(data)

    def leave(self) -> None:
        """The connection is lost."""
        self._connection = None
        self._later = b""
        if self._held:
            self._release()

    def _is_idle(self, connection: Any) -> bool:
        """Whether aiohttp waits for a request, would answer it as usual, and all former answers were taken."""
        waiter = connection._waiter
        waits = not waiter.done() if waiter is not None else connection._request_count == 0  # where it has yet to begin
        return bool(
            waits
            and connection._request_handler is self._lane.plain
            and not (
                connection._paused
                or connection._upgraded
                or connection._close
                or connection._force_close
                or self._traffic.stopping
            )
        )

    def _take(self, data: bytes) -> None:
        end = data.find(END) + len(END)
        head = self._heads.find(data[:end])
        if head is None:
            self._pass(data)
            return
        size = end + head.length
        if len(data) >= size:
            self._begin(head, data[end:size], data[size:])
        elif size <= MOST_HELD:
            self._hold(data)
            self._connection.partly()
        else:
            self._pass(data)

    def _hold(self, data: bytes) -> None:
        """Keeps what is not a whole request yet; a service that stops waits for the rest, as for any that was begun."""
        self._held = data
        self._traffic.began(1)

    def _release(self) -> bytes:
        held, self._held = self._held, b""
        self._traffic.ended(1)
        return held

    def _pass(self, data: bytes) -> None:
        """Gives `data` to aiohttp. Where that is one whole request, the next one begins behind it."""
        connection = self._connection
        count = connection._request_count
        connection.usual(data)
        messages = connection._messages
        self._at_start = bool(
            self._at_start
            and connection._request_count == count + 1
            and not connection._unfinished
            and messages
            and len(data) == data.find(END) + len(END) + _length(messages[-1][0])
        )

    def _begin(self, head: Head, body: bytes, later: bytes) -> None:
        connection = self._connection
        if connection._unfinished:
            connection.whole()
        if head.method == "GET":
            transport = connection.transport
            if not later and transport is not None and (said := apart().run(self._lane.at_once, head)) is not None:
                transport.write(said)
                self._was_used(connection)
                return
        else:
            self.doing = self._lane.begin(head, body, self._hear)
        self._later = later
        if self.doing is None:  # the one before may have begun this one: it belongs to another request
            self.doing = self._loop.create_task(self._answer(head, body), context=apart())

    def _hear(self, said: bytes) -> None:
        """Takes all of the answer; others are told theirs next, so what waits behind it is for the loop's next turn."""
        goes_on = self._say(said)
        if goes_on and self._later:
            self._loop.call_soon(self._end, context=apart())
            return
        self.doing = None
        if goes_on:
            self._go_on()

    def _end(self) -> None:
        self.doing = None
        if self._transport() is not None:
            self._go_on()

    async def _answer(self, head: Head, body: bytes) -> None:
        try:
            said = await self._lane.answer(head, body)
        except BaseException:
            self.doing = None
            self._close()
            raise
        self.doing = None
        if self._say(said):
            self._go_on()

    def _transport(self) -> Any:
        return None if self._connection is None else self._connection.transport

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.force_close()

    def _say(self, said: bytes) -> bool:
        """Whether there may be more to answer afterwards."""
        transport = self._transport()
        if transport is None:
            return False
        transport.write(said)
        if self._traffic.stopping:
            self._close()
            return False
        return True

    def _go_on(self) -> None:
        connection = self._connection
        self._was_used(connection)
        if self._later:
            later, self._later = self._later, b""
            if connection._buffer_paused:
                connection._resume_reading_for_buffer()
            self.received(later)

    def _was_used(self, connection: Any) -> None:
        connection._next_keepalive_close_time = self._loop.time() + self._idle_s

    def _wait(self, data: bytes) -> None:
        self._later += data
        connection = self._connection
        if len(self._later) >= MOST_LATER and not connection._buffer_paused:
            connection._pause_reading_for_buffer()


def _length(message: Any) -> int:
    """How much body the head of `message` announces; 0 for what could not be parsed."""
    headers = getattr(message, "headers", {})
    return int(headers.get("Content-Length", 0))
