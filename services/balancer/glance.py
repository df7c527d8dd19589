"""Polls over connections of their own; only what a substation of ours answers is understood here: a 204 with its report.

Must not know what a report says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

from config.report import HEADER
from services.question import END, Odd, Questioner, connect

_FINE = b"HTTP/1.1 204 "
_REPORT = b"\r\n" + HEADER.lower().encode() + b": "
#: An answer with one of these, or a longer one, is not what is expected.
_ODD = (b"\r\ntransfer-encoding:", b"\r\ncontent-length:", b"\r\nconnection: close")
MOST_BYTES = 1 << 13


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
        async with asyncio.timeout(timeout_s * 0.8):
            return await connect(url, _Glance)

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


class _Glance(Questioner[str]):
    """One connection, and the question that was asked on it last."""

    def __init__(self) -> None:
        super().__init__()
        self._headers: Mapping[str, str] | None = None
        self._request = b""

    def request(self, url: str, headers: Mapping[str, str]) -> bytes:
        """The question to `url` with `headers`, which are nearly always those of the last one."""
        if headers != self._headers:
            self._request, self._headers = _request(url, headers), dict(headers)
        return self._request

    def understand(self, heard: bytes) -> str | None:
        """See `Questioner.understand`: the report."""
        if not heard.endswith(END):
            if END in heard or len(heard) > MOST_BYTES:
                raise Odd("another answer than a poll's")
            return None
        low = heard.lower()
        at = low.find(_REPORT)
        if not heard.startswith(_FINE) or low.count(END) != 1 or at < 0 or any(odd in low for odd in _ODD):
            raise Odd("another answer than a poll's")
        start = at + len(_REPORT)
        return heard[start : heard.index(b"\r\n", start)].decode("latin-1").strip()
