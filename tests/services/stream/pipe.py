"""Streams without sockets: wires whose ends are in one event loop and that can be cut, and a service that does as told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from services.stream.answering import Fates, Streams
from services.stream.caller import Caller
from services.stream.member import Member
from services.stream.seam import Wire
from services.tracing import PassingTracer
from services.traffic import Traffic


class End:
    """One end of a pipe; `sent` are the messages that were put in here. `clogged`: nothing more fits in."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.other: End = self
        self.inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.over = False
        self.clogged = asyncio.Event()
        self.clogged.set()

    async def send(self, message: bytes) -> None:
        await self.clogged.wait()
        if self.over:
            raise ConnectionResetError("cut")
        self.sent.append(message)
        self.other.inbox.put_nowait(message)

    async def receive(self) -> bytes:
        message = None if self.over else await self.inbox.get()
        if message is None:
            raise ConnectionResetError("cut")
        return message

    async def close(self) -> None:
        for end in (self, self.other):
            end.over = True
            end.clogged.set()
            end.inbox.put_nowait(None)


class Desk:
    """A service that answers `Member`s when told to; `instant` ones at once. `head` is its report."""

    streamed = "/charge"

    def __init__(self, instant: bool = True) -> None:
        self.instant = instant
        self.taken: list[Member] = []
        self.batches: list[int] = []
        self.head = ""

    def take(self, members: Sequence[Member], headers: Mapping[str, str]) -> None:
        self.batches.append(len(members))
        self.taken += members
        if self.instant:
            for member in members:
                member.answer(200, member.body)

    def headers(self) -> Mapping[str, str]:
        return {"Grid-Report": self.head} if self.head else {}

    def named(self, body: bytes) -> Member:
        return next(member for member in self.taken if member.body == body)


class Exchange:
    """A `Desk`, who asks it, and the pipes between them, newest last; `open_` False: who connects finds nobody."""

    def __init__(self, desk: Desk, fates: Fates = lambda: None) -> None:
        self.desk = desk
        self.traffic = Traffic()
        self.streams = Streams(desk, self.traffic, PassingTracer(), fates)
        self.pipes: list[End] = []
        self.open_ = True
        self.caller = Caller(self._connect)
        self._serving: list[asyncio.Task[None]] = []

    async def _connect(self) -> Wire:
        if not self.open_:
            raise ConnectionRefusedError("nobody is there")
        here, there = End(), End()
        here.other, there.other = there, here
        self.pipes.append(here)
        self._serving.append(asyncio.ensure_future(self.streams.serve(there, {})))
        return here

    async def close(self) -> None:
        await self.caller.close()
        await self.streams.close()
        await asyncio.gather(*self._serving)
