"""One question at a time over a kept connection, with nothing between it and its bytes: thousands are asked all the time.

Whatever is not the one answer that is expected is for an HTTP client to ask again. Must not know what is asked or answered.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar, cast
from urllib.parse import urlsplit

T = TypeVar("T")

#: Ends the head of an HTTP message.
END = b"\r\n\r\n"


class Odd(Exception):
    """It cannot be asked so, or was answered otherwise than expected, or not at all; nothing was begun by that."""


class Questioner(asyncio.Protocol, Generic[T]):
    """One connection on which questions are asked whose answers mean a `T`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[T] | None = None
        self._heard = b""

    @abstractmethod
    def understand(self, heard: bytes) -> T | None:
        """What all that was heard since the question means; None where the answer goes on. Odd for another answer."""

    @property
    def closed(self) -> bool:
        """Whether it cannot be used any more."""
        return self._transport is None or self._transport.is_closing()

    async def ask(self, request: bytes) -> T:
        """The answer to `request`, the bytes of an HTTP request. Odd or OSError; then, or when cancelled, `cut` it."""
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
        try:
            answer = self.understand(self._heard)
        except Odd as odd:
            self._answer.set_exception(odd)
        else:
            if answer is not None:
                self._answer.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or Odd("the connection was closed"))

    def cut(self) -> None:
        """Close it; nothing more is said or heard."""
        if self._transport is not None:
            self._transport.abort()


Q = TypeVar("Q", bound=asyncio.Protocol)


async def connect(url: str, kind: Callable[[], Q]) -> Q:
    """A connection to the service at `url`; Odd where that is not plain HTTP, OSError where nobody is there."""
    address = urlsplit(url)
    if address.scheme != "http" or address.hostname is None:
        raise Odd(f"{url} is no plain HTTP")
    _, made = await asyncio.get_running_loop().create_connection(kind, address.hostname, address.port or 80)
    return made
