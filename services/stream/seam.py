"""What carries a stream, what comes of asking on one, and what may go wrong. Must not know how either is done.

NoStream
Unsent ─ Crowded
Broken
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol


class Unsent(ConnectionError):
    """Nothing of it was sent."""


class Crowded(Unsent):
    """So many wait already that this one is not even put behind them."""


class Broken(ConnectionError):
    """It was sent, and its answer is lost: nobody knows what became of it."""


class NoStream(Exception):
    """Whoever is there takes no stream, or not from here: for `for_s` (wall seconds) it is to be asked over HTTP."""

    def __init__(self, said: str, for_s: float) -> None:
        super().__init__(said)
        self.for_s = for_s


class Wire(Protocol):
    """One open connection that carries messages in order. Tests put a simulated one here."""

    async def send(self, message: bytes) -> None:
        """Returns once there is room for another one; ConnectionError where the connection is over."""
        ...

    async def receive(self) -> bytes:
        """The next message; ConnectionError where the connection is over."""
        ...

    async def close(self) -> None:
        """Ends the connection, in order if that is quick."""
        ...


#: Opens a wire; NoStream, or ConnectionError or TimeoutError where nobody is reached.
Connect = Callable[[], Awaitable[Wire]]


class Dials(Protocol):
    """Opens streams of any service; see `services.stream.websocket.Dialer`."""

    async def dial(self, base: str, headers: Mapping[str, str]) -> Wire:
        """A stream of the service at `base`, whose handshake has `headers`; see `Connect` for what is raised."""
        ...

    async def close(self) -> None:
        """Nothing more is opened."""
        ...
