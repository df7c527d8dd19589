"""Asks one service over a stream, and opens another one where that is needed. Must not know what is asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextvars import copy_context
from functools import cached_property
from typing import Final

from services.stream.link import Link
from services.stream.pending import Awaited, Deadlines, Pending, Tell
from services.stream.seam import Connect, Crowded, NoStream, Unsent
from services.stream.wire import Said

#: So many may wait to be sent; who comes then is told so at once.
MOST_WAITING: Final = 8192
#: Who is not sent after this share of its time is not sent at all: "nothing was sent" is worth more than a late answer.
UNSENT_SHARE: Final = 0.8
_NOTHING: Mapping[str, str] = {}

_log = logging.getLogger(__name__)


class Caller:
    """The way to one service. One event loop only; a connection is opened when something is asked, and again when needed."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._context = copy_context()
        self._deadlines = Deadlines(self._due, self._context)
        self._current: Link | None = None
        self._streams: set[Link] = set()
        self._closed = False
        self._none_until_s = float("-inf")

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()  # this asks the kernel each time, until Python 3.11

    async def ask(self, body: bytes, timeout_s: float, headers: Mapping[str, str] = _NOTHING) -> Said:
        """The answer to `body`, of whose `headers` the trace goes along.

        NoStream; Unsent where nothing was sent; Broken or TimeoutError where it was, and nobody knows.
        """
        member = Awaited(body, self._loop.time() + timeout_s, headers, self._loop)
        self._put(member, timeout_s)
        try:
            return await member.heard
        finally:
            member.drop()

    def begin(self, body: bytes, timeout_s: float, headers: Mapping[str, str], tell: Tell) -> None:
        """As `ask`, of which nobody waits for the end: `tell` is told the answer, or why there is none.

        NoStream or Unsent where that is known at once: nobody is told then.
        """
        self._put(Pending(body, self._loop.time() + timeout_s, headers, tell), timeout_s)

    def _put(self, member: Pending, timeout_s: float) -> None:
        if self._closed:
            raise Unsent("the way there is closed")
        asked_s = member.until_s - timeout_s
        if asked_s < self._none_until_s:
            raise NoStream("it took none lately", 0.0)
        stream = self._current or self._stream()
        if len(stream.waiting) >= MOST_WAITING:
            raise Crowded(f"{MOST_WAITING} others wait to be sent")
        self._deadlines.add(member, member.until_s if stream.flows else asked_s + timeout_s * UNSENT_SHARE)
        stream.put(member)

    def leave(self) -> None:
        """Nothing more is asked here: what was sent may be answered, what was not is Unsent."""
        self._closed = True
        for link in list(self._streams):
            link.retire()

    async def close(self) -> None:
        """Ends all connections; who waits gets no answer."""
        self._closed, streams = True, list(self._streams)
        for stream in streams:
            stream.task.cancel()
        await asyncio.gather(*(stream.task for stream in streams), return_exceptions=True)
        self._deadlines.close()

    @property
    def has_room(self) -> bool:
        """Whether there is an open connection, and what is asked now goes with the next message on it."""
        return self._current is not None and self._current.has_room and not self._closed

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, or one is being opened or closed."""
        return bool(self._streams)

    def _stream(self) -> Link:
        if self._current is None:
            self._current = stream = Link(self._connect, self._retired, self._context)
            self._streams.add(stream)
            stream.task.add_done_callback(lambda _: self._ended(stream), context=self._context)
        return self._current

    def _retired(self, stream: Link) -> None:
        """Nothing more is sent on it; what waits goes on another one."""
        if stream.refusal is not None:
            self._none_until_s = max(self._none_until_s, self._loop.time() + stream.refusal.for_s)
        if self._current is stream:
            self._current = None
        left = [member for member in stream.waiting if not member.is_over]
        stream.waiting.clear()
        for member in left:
            if self._closed:
                member.settle(Unsent("the way there is closed"))
            else:
                self._stream().put(member)

    def _ended(self, stream: Link) -> None:
        self._streams.discard(stream)
        if self._current is stream:
            self._current = None
        stream.end(Unsent("it was given up"))  # a task that was cancelled before it began says nothing itself
        error = None if stream.task.cancelled() else stream.task.exception()
        if error is not None:
            _log.error("a stream failed", exc_info=error)

    def _due(self, member: Pending) -> None:
        left_s = member.until_s - self._loop.time()
        if member.sent_s is None:
            member.settle(Unsent("there was no connection for it in time"))
        elif left_s > 0.001:
            self._deadlines.add(member, member.until_s)
        else:
            self._suspect(member.sent_s)
            member.settle(TimeoutError("it did not answer in time"))

    def _suspect(self, sent_s: float) -> None:
        """A member got no answer in time: where nothing at all was heard since it was sent, the connection may be dead."""
        stream = self._current
        if stream is not None and stream.opened_s <= sent_s and stream.heard_s < sent_s:
            stream.retire()
