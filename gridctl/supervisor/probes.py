"""Asks services of ours one question over kept connections; whole answers of known length are understood here.

Must not know what is asked.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from services.question import END, Odd, Questioner, connect

#: So many connections are kept at most: who holds a thousand services has other files open, too.
MOST_KEPT = 2_000
#: A longer answer is not one.
MOST_BYTES = 1 << 16

_BEGINS = b"HTTP/1.1 "
_LENGTH = b"\r\ncontent-length: "
_CLOSES = b"\r\nconnection: close"

Answer = tuple[int, bytes]


class Probes:
    """One connection to each URL that is asked, kept for the next time. One event loop only."""

    def __init__(self) -> None:
        self._kept: dict[str, _Probe] = {}

    async def get(self, url: str, timeout_s: float) -> Answer:
        """Status and body of what `url` answers; TimeoutError after `timeout_s`, Odd or OSError where another way may do."""
        async with asyncio.timeout(timeout_s):
            probe = self._kept.pop(url, None)
            if probe is None or probe.closed:
                probe = await connect(url, _Probe)
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


class _Probe(Questioner[Answer]):
    """One connection; `lasts`: its other end keeps it."""

    lasts = True

    def understand(self, heard: bytes) -> Answer | None:
        """See `Questioner.understand`."""
        head, end, body = heard.partition(END)
        if not end:
            if len(head) > MOST_BYTES:
                raise Odd("a head without end")
            return None
        low = head.lower()
        status, length = _number(head[len(_BEGINS) :][:3]), _number(low.partition(_LENGTH)[2].partition(b"\r\n")[0])
        if not head.startswith(_BEGINS) or status is None or length is None or max(length, len(body)) > MOST_BYTES:
            raise Odd("another answer than expected")
        if len(body) > length:
            raise Odd("more than was asked for")
        self.lasts = _CLOSES not in low
        return (status, body) if len(body) == length else None


def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() else None
