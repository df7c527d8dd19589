"""Asks services of ours one question over kept connections, with nothing between it and its bytes: there are thousands.

Only a whole answer of known length is understood here; whatever else comes is for an HTTP client to ask again. Must not know
what is asked.
"""

from __future__ import annotations

import asyncio
from typing import cast
from urllib.parse import urlsplit

#: So many connections are kept at most: who holds a thousand services has other files open, too.
MOST_KEPT = 2_000
#: A longer answer is not one.
MOST_BYTES = 1 << 16

_END = b"\r\n\r\n"
_BEGINS = b"HTTP/1.1 "
_LENGTH = b"\r\ncontent-length: "
_CLOSES = b"\r\nconnection: close"

Answer = tuple[int, bytes]


class Odd(Exception):
    """It was answered otherwise than expected, or not at all."""


class Probes:
    """One connection to each URL that is asked, kept for the next time. One event loop only."""

    def __init__(self) -> None:
        self._kept: dict[str, _Probe] = {}

    async def get(self, url: str, timeout_s: float) -> Answer:
        """Status and body of what `url` answers; TimeoutError after `timeout_s`, Odd or OSError where another way may do."""
        async with asyncio.timeout(timeout_s):
            probe = self._kept.pop(url, None)
            if probe is None or probe.closed:
                probe = await _connect(url)
            try:
                answer = await probe.ask(_request(url))
            except BaseException:
                probe.cut()
                raise
        if probe.lasts and len(self._kept) < MOST_KEPT:
            self._kept[url] = probe
        else:
            probe.cut()
        return answer

    def close(self) -> None:
        """Close all connections."""
        for probe in self._kept.values():
            probe.cut()
        self._kept.clear()

    def forget(self, url: str) -> None:
        """It is asked no more."""
        if (probe := self._kept.pop(url, None)) is not None:
            probe.cut()


def _request(url: str) -> bytes:
    address = urlsplit(url)
    return f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()


async def _connect(url: str) -> _Probe:
    address = urlsplit(url)
    if address.scheme != "http" or address.hostname is None:
        raise Odd(f"{url} is no plain HTTP")
    _, probe = await asyncio.get_running_loop().create_connection(_Probe, address.hostname, address.port or 80)
    return probe


class _Probe(asyncio.Protocol):
    """One connection: one question at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._heard = b""
        self.lasts = True

    @property
    def closed(self) -> bool:
        """Whether it cannot be used any more."""
        return self._transport is None or self._transport.is_closing()

    async def ask(self, request: bytes) -> Answer:
        """See `Probes.get`."""
        if self._transport is None:
            raise Odd("the connection was closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._heard = b""
        self._transport.write(request)
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._answer is None or self._answer.done():
            self.cut()  # nobody asked
            return
        self._heard += data
        head, end, body = self._heard.partition(_END)
        if end:
            self._settle(head, body)
        elif len(head) > MOST_BYTES:
            self._fail(Odd("a head without end"))

    def _settle(self, head: bytes, body: bytes) -> None:
        low = head.lower()
        status, length = _number(head[len(_BEGINS) :][:3]), _number(low.partition(_LENGTH)[2].partition(b"\r\n")[0])
        if not head.startswith(_BEGINS) or status is None or length is None or max(length, len(body)) > MOST_BYTES:
            self._fail(Odd("another answer than expected"))
        elif len(body) > length:
            self._fail(Odd("more than was asked for"))
        elif len(body) == length and self._answer is not None:
            self.lasts = _CLOSES not in low
            self._answer.set_result((status, body))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        self._fail(exc or Odd("the connection was closed"))

    def cut(self) -> None:
        """Close it; nothing more is said or heard."""
        if self._transport is not None:
            self._transport.abort()


def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() else None
