"""Answers streams for one service: takes members as they come, sends what is ready together. Must not know what is asked.

A member's answer never waits for another member's. Who does not take answers, or asks more than is answered, is read no
further until that changes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from config.report import HEADER
from services.problem import ProblemError
from services.stream import wire
from services.stream.closing import then
from services.stream.member import Answering, Member, fail
from services.stream.seam import Wire
from services.stream.streaming import Streaming
from services.stream.wire import Call
from services.tracing import Span, Tracer, parent_in
from services.traffic import Traffic

#: A connection with so many members unanswered is read no further.
MOST_TAKEN = 4096

_log = logging.getLogger(__name__)


class Fate(NamedTuple):
    """What a fault makes of one answer: it is lost, late (wall seconds), or that of a member that was taken twice."""

    twice: bool
    delay_s: float
    lost: bool


#: The fate of the next answer; None: nothing happens to it.
Fates = Callable[[], Fate | None]


class Streams:
    """All streams of one `service`; what is being answered counts in `traffic`."""

    def __init__(self, service: Streaming, traffic: Traffic, tracer: Tracer, fates: Fates = lambda: None) -> None:
        self._service = service
        self._traffic = traffic
        self._tracer = tracer
        self._fates = fates
        self._open: set[_Answering] = set()
        traffic.on_stop(self._say_goodbye)

    @property
    def stopping(self) -> bool:
        """Whether nothing more shall be sent here."""
        return self._traffic.stopping

    async def serve(self, opened: Wire, headers: Mapping[str, str]) -> None:
        """Until the connection is over, or is ended by `close`."""
        answering = _Answering(opened, headers, self._service, self._traffic, self._tracer, self._fates)
        self._open.add(answering)
        try:
            await answering.run()
        finally:
            self._open.discard(answering)

    def _say_goodbye(self) -> None:
        for answering in self._open:
            answering.say_goodbye()

    async def close(self, *_: object) -> None:
        """Ends all, answered or not."""
        answerings = list(self._open)
        for answering in answerings:
            answering.end()
        await asyncio.gather(*(answering.wire.close() for answering in answerings), return_exceptions=True)


class _Answering(Answering):
    def __init__(
        self,
        opened: Wire,
        headers: Mapping[str, str],
        service: Streaming,
        traffic: Traffic,
        tracer: Tracer,
        fates: Fates,
    ) -> None:
        self.wire = opened
        self._headers = headers
        self._service = service
        self._traffic = traffic
        self._tracer = tracer
        self._fates = fates
        self._loop = asyncio.get_running_loop()
        self._ready: list[bytes] = []
        self._taken = 0
        self._bye = self._over = False
        self._wake: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Reads until the connection is over."""
        writing = self._loop.create_task(self._write())

        async def last() -> None:
            self.end()
            await asyncio.gather(writing, return_exceptions=True)

        await then(self._read(), last)

    def say_goodbye(self) -> None:
        """Nothing more shall be sent here."""
        self._bye = True
        self._rouse(self._wake)

    def end(self) -> None:
        """What is not answered yet is not to be answered."""
        self._over = True
        self._rouse(self._wake)
        self._rouse(self._room)

    async def _read(self) -> None:
        if self._traffic.stopping:
            self.say_goodbye()
        while not self._over:
            try:
                calls = wire.calls_of(await self.wire.receive())
            except ConnectionError:
                return
            except ValueError as error:
                _log.warning("a stream holds what is no call", extra={"detail": str(error)[:200]})
                return
            try:
                self._take(calls)
            except ProblemError as refused:
                _log.warning("a stream is refused", extra={"reason": refused.problem.reason})
                return
            while self._taken >= MOST_TAKEN and not self._over:
                self._room = self._loop.create_future()
                await self._room

    def _take(self, calls: list[Call]) -> None:
        began_s = time.perf_counter()
        members = [Member(call, self._begin(call), self, began_s) for call in calls]
        self._taken += len(calls)
        self._traffic.began(len(calls))
        try:
            self._service.take(members, self._headers)
        except ProblemError:
            self._traffic.ended(len(calls))
            raise
        except Exception:  # noqa: BLE001  the last line: whatever it was, it is logged and answered
            fail(members)

    def _begin(self, call: Call) -> Span:
        parent = parent_in(call.traceparent, call.tracestate) if call.traceparent else None
        return self._tracer.begin("POST", self._service.streamed, parent)

    def answered(self, member: Member, status: int, body: bytes, retry_after: str) -> None:
        """See `Member.answer`."""
        line, fate = wire.an_answer(member.call.number, status, body, retry_after), self._fates()
        if fate is None:
            self._send(line)
            return
        if fate.lost:
            line = wire.an_answer(member.call.number, wire.LOST, b"")
        if fate.twice and not member.is_again and self._is_taken_again(member):
            return
        if fate.delay_s:
            self._loop.call_later(fate.delay_s, self._send, line)
        else:
            self._send(line)

    def _is_taken_again(self, member: Member) -> bool:
        again = Member(member.call, self._begin(member.call), self, time.perf_counter())
        again.is_again = True
        with suppress(ProblemError):
            self._service.take([again], self._headers)
            return True
        return False

    def _send(self, line: bytes) -> None:
        self._traffic.ended(1)
        self._ready.append(line)
        if len(self._ready) == 1:  # else it was told before
            self._rouse(self._wake)

    def _rouse(self, waiting: asyncio.Future[None] | None) -> None:
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def _write(self) -> None:
        try:
            while not self._over:
                if self._bye:
                    self._bye = False
                    await self.wire.send(wire.BYE)
                if self._ready:
                    await self._send_ready()
                    continue
                self._wake = self._loop.create_future()
                await self._wake
        except ConnectionError:
            self.end()  # reading ends too, though it may be waiting for room

    async def _send_ready(self) -> None:
        lines, size = [], 0
        for line in self._ready[: wire.MOST_MEMBERS]:
            if size and size + len(line) > wire.MOST_BYTES:
                break
            lines.append(line)
            size += len(line)
        del self._ready[: len(lines)]
        await self.wire.send(wire.put_answers(self._service.headers().get(HEADER, ""), lines))
        self._taken -= len(lines)
        self._rouse(self._room)
