"""One connection of a stream, on the side that asks: what waits goes in one message. Must not know what is asked.

Nobody waits for company: what was put in within one turn of the event loop goes at once, and what comes while a message is
being taken goes with the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Final

from services.stream import wire
from services.stream.closing import then
from services.stream.pending import Pending
from services.stream.seam import Broken, Connect, NoStream, Unsent, Wire
from services.stream.wire import Said
from services.tracing import TRACEPARENT, TRACESTATE

#: Members that may be unanswered on one connection; more wait here, within their time.
MOST_UNANSWERED: Final = 1024
#: A stream on which nothing was asked for so long is closed (wall seconds): before a router between forgets it.
IDLE_S = 30.0
#: One that nobody asks on any more is closed after this at the latest, whoever may still be waited for.
RETIRED_S = 60.0


class Link:
    """One connection. `waiting` were not sent, `unanswered` were; retired it closes once nobody is left."""

    def __init__(self, connect: Connect, retired: Callable[[Link], None], context: Context) -> None:
        self.waiting: deque[Pending] = deque()
        self.unanswered: dict[int, Pending] = {}
        self.opened_s = float("inf")
        self.heard_s = float("-inf")
        self._connect = connect
        #: Why no stream is taken where it leads, once that was said.
        self.refusal: NoStream | None = None
        self._retired = retired
        self._is_retired = False
        self._number = 0
        self._loop = asyncio.get_running_loop()
        self._wake: asyncio.Future[None] | None = None
        self._used_s = self._loop.time()
        self._timer = self._loop.call_later(IDLE_S, self._look, context=context)
        self._context = context
        self.task = self._loop.create_task(self._live(), context=context.copy())

    @property
    def flows(self) -> bool:
        """Whether what is put in now is most likely sent at once."""
        return self.opened_s < float("inf") and not self.waiting and len(self.unanswered) < MOST_UNANSWERED

    @property
    def has_room(self) -> bool:
        """Whether what is put in now goes with the next message."""
        return self.opened_s < float("inf") and len(self.waiting) + len(self.unanswered) < MOST_UNANSWERED

    def put(self, member: Pending) -> None:
        """Behind the others that wait."""
        self.waiting.append(member)
        if len(self.waiting) == 1:  # else it was told before
            self._rouse()

    def retire(self) -> None:
        """Nothing more is sent on this one."""
        if not self._is_retired:
            self._is_retired = True
            self._retired(self)
            self._rouse()
            self._timer.cancel()
            self._timer = self._loop.call_later(RETIRED_S, self.task.cancel, context=self._context)

    def _look(self) -> None:
        """Closes it where it was of no use for long."""
        left_s = self._used_s + IDLE_S - self._loop.time()
        if left_s > 0 or self.waiting or self._is_awaited():
            self._timer = self._loop.call_later(max(1.0, left_s), self._look, context=self._context)
        else:
            self.retire()

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _live(self) -> None:
        try:
            opened = await self._connect()
        except (NoStream, ConnectionError, TimeoutError, OSError) as error:
            self.refusal = error if isinstance(error, NoStream) else None
            self.end(self.refusal or Unsent(str(error) or type(error).__name__))
            return
        except asyncio.CancelledError:
            self.end(Unsent("it was given up"))
            raise
        self.opened_s = self._loop.time()
        reading = self._loop.create_task(self._read(opened))
        reading.add_done_callback(lambda _: self._rouse())

        async def last() -> None:
            self.retire()
            reading.cancel()
            self.end(Broken("the connection ended before the answer"))
            await asyncio.gather(reading, opened.close(), return_exceptions=True)

        await then(self._write(opened, reading), last)

    def end(self, error: Exception) -> None:
        """Whoever still waits gets this."""
        for member in (*self.waiting, *self.unanswered.values()):
            member.settle(error)
        self.waiting.clear()
        self.unanswered.clear()
        self._timer.cancel()
        if not self._is_retired:
            self._is_retired = True
            self._retired(self)

    async def _write(self, opened: Wire, reading: asyncio.Task[None]) -> None:
        """Until the connection is over, or nobody needs it any more."""
        while not reading.done():
            if self.waiting and len(self.unanswered) < MOST_UNANSWERED:
                message = self._gather()
                try:
                    if message:
                        await opened.send(message)
                except ConnectionError:
                    return
                continue
            if self._is_retired and not self._is_awaited():
                return
            self._wake = self._loop.create_future()
            await self._wake

    def _is_awaited(self) -> bool:
        return any(not member.is_over for member in self.unanswered.values())

    def _gather(self) -> bytes:
        """The next message: whoever waits and is still waited for."""
        lines: list[bytes] = []
        size, now_s = 0, self._loop.time()
        self._used_s = now_s
        room = min(wire.MOST_MEMBERS, MOST_UNANSWERED - len(self.unanswered))
        while self.waiting and len(lines) < room and size < wire.MOST_BYTES:
            member = self.waiting.popleft()
            if member.is_over:
                continue
            self._number += 1
            member.number, member.sent_s = self._number, now_s
            self.unanswered[member.number] = member
            left_ms = max(1, int((member.until_s - now_s) * 1000))
            trace = member.headers
            parent, state = (trace.get(TRACEPARENT, ""), trace.get(TRACESTATE, "")) if trace else ("", "")
            lines.append(wire.a_call(member.number, left_ms, member.body, parent, state))
            size += len(member.body)
        return b"".join(lines)

    async def _read(self, opened: Wire) -> None:
        while True:
            try:
                message = await opened.receive()
                if message == wire.BYE:
                    self.retire()
                    continue
                answers = wire.answers_of(message)
            except (ConnectionError, ValueError):
                return
            self.heard_s = self._loop.time()
            for said in answers:
                self._settle(said)
            if self.waiting or self._is_retired:
                self._rouse()

    def _settle(self, said: Said) -> None:
        member = self.unanswered.pop(said.number, None)
        if member is None or member.is_over:
            return
        if said.status == wire.LOST:
            member.settle(Broken("its answer is lost"))
        else:
            member.settle(said)
