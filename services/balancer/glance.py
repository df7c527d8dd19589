"""Polls over connections of their own, with nothing between a poll and its bytes: a thousand are asked all the time.

Only the one answer that a substation of ours gives is understood here: a 204 with its report. Whatever else comes, or goes
wrong, is for an HTTP client to ask again. Must not know what a report says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit

from config.report import HEADER

_FINE = b"HTTP/1.1 204 "
_END = b"\r\n\r\n"
_REPORT = b"\r\n" + HEADER.lower().encode() + b": "
#: An answer with one of these, or a longer one, is not what is expected.
_ODD = (b"\r\ntransfer-encoding:", b"\r\ncontent-length:", b"\r\nconnection: close")
MOST_BYTES = 1 << 13


class Odd(Exception):
    """It cannot be asked so, or answered otherwise than expected; nothing was begun by that."""


class Glances:
    """One connection to each substation, opened at its first poll and kept; asks with `GET /report`."""

    def __init__(self) -> None:
        self._open: dict[str, _Glance] = {}

    async def report(self, url: str, headers: Mapping[str, str], timeout_s: float) -> str:
        """The report of the substation at `url`, as its header says it; Odd or OSError where another way may do better."""
        async with asyncio.timeout(timeout_s):
            glance = self._open.pop(url, None) or await self._connect(url, timeout_s)
            try:
                report = await glance.ask(glance.request(url, headers))
            except BaseException:
                glance.cut()
                raise
        self._open[url] = glance
        return report

    async def _connect(self, url: str, timeout_s: float) -> _Glance:
        address = urlsplit(url)
        if address.scheme != "http" or address.hostname is None:
            raise Odd(f"{url} is no plain HTTP")
        async with asyncio.timeout(timeout_s * 0.8):
            loop = asyncio.get_running_loop()
            _, glance = await loop.create_connection(_Glance, address.hostname, address.port or 80)
        return glance

    def close(self) -> None:
        """Close all connections."""
        for glance in self._open.values():
            glance.cut()
        self._open.clear()


def _request(url: str, headers: Mapping[str, str]) -> bytes:
    address = urlsplit(url)
    lines = [f"GET {address.path}/report HTTP/1.1", f"Host: {address.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if not all(line.isprintable() for line in lines):
        raise Odd("a header's value must be printable")
    return "\r\n".join([*lines, "", ""]).encode()


class _Glance(asyncio.Protocol):
    """One connection: one question at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[str] | None = None
        self._heard = b""
        self._headers: Mapping[str, str] | None = None
        self._request = b""

    def request(self, url: str, headers: Mapping[str, str]) -> bytes:
        """The question to `url` with `headers`, which are nearly always those of the last one."""
        if headers != self._headers:
            self._request, self._headers = _request(url, headers), dict(headers)
        return self._request

    async def ask(self, request: bytes) -> str:
        """See `Glances.report`."""
        if self._transport is None or self._transport.is_closing():
            raise Odd("the connection was closed meanwhile")
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
        if self._heard.endswith(_END):
            self._settle(self._heard)
        elif _END in self._heard or len(self._heard) > MOST_BYTES:
            self._fail(Odd("another answer than a poll's"))

    def _settle(self, heard: bytes) -> None:
        low = heard.lower()
        at = low.find(_REPORT)
        if not heard.startswith(_FINE) or low.count(_END) != 1 or at < 0 or any(odd in low for odd in _ODD):
            self._fail(Odd("another answer than a poll's"))
        elif self._answer is not None:
            start = at + len(_REPORT)
            self._answer.set_result(heard[start : heard.index(b"\r\n", start)].decode("latin-1").strip())

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
