"""Streams between simulated processes: messages in order, and connections that are cut or stall in the midst of a batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from services.stream.seam import Wire
from tests.services.simulation.weather import NEAR_S, Refused, Reset
from tests.services.virtual import LIFE, Life

if TYPE_CHECKING:
    from tests.services.simulation.network import Network, Port

#: Of messages that are lost, so many leave the connection dead: nothing behind them arrives either. The others break it.
STALLS = 0.5


class End:
    """One end of a stream, in `life`; what it sends arrives at the `other` one, in order."""

    def __init__(self, network: Network, life: Life | None, between: tuple[str, str], is_asking: bool) -> None:
        self.network = network
        self.life = life
        self.other: End = self
        self.serving: asyncio.Task[None] | None = None
        self.over = False
        self.between = between
        self._is_asking = is_asking
        self._stalled = False
        self._arrives_s = 0.0
        self._inbox: deque[bytes | None] = deque()
        self._waiting: asyncio.Future[None] | None = None

    async def send(self, message: bytes) -> None:
        if self.over:
            raise Reset("cut")
        rng, weather = self.network.rng, self.network.between(*self.between)
        lost = weather.lose if self._is_asking else weather.lose_reply
        if rng.random() < lost and not self._stalled:
            self._stalled = rng.random() < STALLS
            if not self._stalled:
                self._cut(NEAR_S)
            return
        if self._stalled or weather.cut:
            return
        self._deliver(message)
        if self._is_asking and weather.twice and rng.random() < weather.twice:
            self._deliver(message)

    def _deliver(self, message: bytes) -> None:
        weather = self.network.between(*self.between)
        most_s = weather.delay_s if self._is_asking else weather.delay_reply_s
        loop = self.network.loop
        self._arrives_s = max(self._arrives_s, loop.time() + self.network.delay_s(most_s))
        self.network.note(f"    {'>' if self._is_asking else '<'} stream {message[:120]!r}")
        self.network.later(self._arrives_s - loop.time(), partial(self.other.arrive, message))

    def arrive(self, message: bytes | None) -> None:
        """`message` is here; None: the connection is over. Taken up when the process runs."""
        context = None if self.life is None else self.life.context
        self.network.loop.call_soon(self._put, message, context=context)

    def _put(self, message: bytes | None) -> None:
        self.over = self.over or message is None
        self._inbox.append(message)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def receive(self) -> bytes:
        while not self._inbox:
            if self.over:
                raise Reset("cut")
            self._waiting = self.network.loop.create_future()
            await self._waiting
        message = self._inbox.popleft()
        if message is None:
            raise Reset("cut")
        return message

    async def close(self) -> None:
        self._cut(NEAR_S)

    def _cut(self, delay_s: float) -> None:
        for end in (self, self.other):
            self.network.later(delay_s, partial(end.arrive, None))

    def died(self) -> None:
        """Its process is gone: the other end hears of it."""
        self.over = True
        self.network.later(NEAR_S, partial(self.other.arrive, None))


class Lines:
    """How the process `name` opens streams."""

    def __init__(self, network: Network, name: str) -> None:
        self._network = network
        self._name = name

    async def dial(self, base: str, headers: Mapping[str, str]) -> Wire:
        network, name = self._network, str(urlsplit(base).hostname)
        weather = network.between(self._name, name)
        if weather.cut:
            await asyncio.sleep(1.0)  # sleep: virtual time
            raise Refused("no route")
        await asyncio.sleep(network.delay_s(weather.delay_s))  # sleep: virtual time
        port = network.ports[name]
        while port.life is None or port.streams is None:
            if not port.held:
                raise Refused(f"nobody listens at {name}")
            await asyncio.sleep(0.05)  # sleep: virtual time; it waits in the backlog
        return self._join(port, port.life, headers)

    async def close(self) -> None: ...

    def _join(self, port: Port, life: Life, headers: Mapping[str, str]) -> End:
        network, between = self._network, (self._name, port.name)
        here, there = End(network, LIFE.get(), between, is_asking=True), End(network, life, between, is_asking=False)
        here.other, there.other = there, here
        network.ends += (here, there)
        network.loop.call_soon(_serve, port, there, headers, context=life.context)
        return here


def _serve(port: Port, end: End, headers: Mapping[str, str]) -> None:
    if port.streams is not None:
        end.serving = asyncio.ensure_future(port.streams.serve(end, headers))
