"""One kept connection to the server, one request on it at a time. Must not know orders, pools, or what an answer means.

Works on asyncio's protocol and a C parser: a client library's request, with its objects, headers and timers, was most of
what a request cost the load tester.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

#: Of an answer that is longer than this nothing more is read.
ANSWER_LIMIT_BYTES = 1 << 20

CLOSED = "connection closed without an answer"
BROKEN_OFF = "answer broken off"
NOT_HTTP = "not HTTP"

_FRAMES = (b"content-length", b"transfer-encoding")


class Wire(asyncio.Protocol):
    """Tells of each answer `answered(wire, status, body)`, body None if too long, or `failed(wire, why)`.

    `lost(wire)` is told when it cannot be used any more, after the failure of what was on it.
    """

    def __init__(
        self,
        answered: Callable[[Wire, int, bytes | None], object],
        failed: Callable[[Wire, str], object],
        lost: Callable[[Wire], object],
    ) -> None:
        self._answered = answered
        self._failed = failed
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser = HttpResponseParser(self)
        self._asked = False
        self._parts: list[bytes] = []
        self._size = 0
        self._status = 0
        self._framed = False
        self._whole: bytes | None = None
        self._keep = False
        #: When it was free last (whatever the owner's clock says).
        self.free_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    @property
    def is_open(self) -> bool:
        """Whether the next request can be put on it."""
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, request: bytes) -> None:
        """Put `request` on it; the one before has been answered."""
        self._asked = True
        self._status = 0
        if self._transport is not None:
            self._transport.write(request)

    def cut(self) -> None:
        """Close it at once; nothing is told of what was on it, only that it is lost."""
        self._asked = False
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if not self._asked:  # nobody waits for anything
            self.cut()
            return
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            if self._whole is None:
                self._fail(NOT_HTTP)
                return
            self._keep = False  # an answer, and something behind it
        if self._whole is not None:
            self._end(self._whole)
        elif self._size > ANSWER_LIMIT_BYTES:
            self._keep = False
            self._end(None)

    def eof_received(self) -> None:
        """See asyncio.Protocol: an answer that says no length ends here."""
        if self._asked and self._status and not self._framed:
            self._keep = False
            self._end(b"".join(self._parts))

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - closed or reset, it is the same
        """See asyncio.Protocol."""
        if self._asked:
            self._fail(BROKEN_OFF if self._status else CLOSED)
        self._lost(self)

    def on_message_begin(self) -> None:
        """See httptools, as with those below."""
        self._parts = []
        self._size = 0
        self._framed = False
        if self._whole is not None:  # nobody asked for two
            self._keep = False

    def on_header(self, name: bytes, _value: bytes) -> None:
        """Notes whether the answer says where it ends."""
        if not self._framed and name.lower() in _FRAMES:
            self._framed = True

    def on_headers_complete(self) -> None:
        """Its status is known; of one that goes on ("100 Continue"), the next one counts."""
        status = self._parser.get_status_code()
        if self._whole is None:
            self._status = status if status >= 200 else 0

    def on_body(self, part: bytes) -> None:
        """A part of it."""
        self._size += len(part)
        if self._size <= ANSWER_LIMIT_BYTES:
            self._parts.append(part)

    def on_message_complete(self) -> None:
        """All of it."""
        if self._status and self._whole is None and self._size <= ANSWER_LIMIT_BYTES:
            self._whole = b"".join(self._parts)
            self._keep = self._parser.should_keep_alive()

    def _end(self, body: bytes | None) -> None:
        status, self._asked, self._whole = self._status, False, None
        self._parts = []
        self._size = 0
        if not self._keep and self._transport is not None:
            self._transport.abort()
        self._answered(self, status, body)

    def _fail(self, why: str) -> None:
        self.cut()
        self._failed(self, why)
