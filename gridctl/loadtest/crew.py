"""Several workers that send one run together. Must not know how a request is sent, or the terminal.

They are forked before an event loop runs, so that each has the scenario as it is. All begin at one moment, each sends its
share of the arrivals, and what they tell adds up to what one process would have counted.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from types import TracebackType

from config.errors import GridError
from gridctl.loadtest.arrivals import Share
from gridctl.loadtest.engine import GRACE_S, Report
from gridctl.loadtest.sending import Account
from gridctl.loadtest.setup import Setup
from gridctl.loadtest.tally import Tally
from gridctl.loadtest.worker import Begin, Broken, Part, Ready, Stop, message, receive, work

#: All begin so long after the last one was ready (wall seconds).
SOON_S = 0.02
#: Of a worker that says nothing for so long (wall seconds) the user is told …
QUIET_S = 3.0
#: … and after so long it is given up, and the run with it.
LOST_S = 30.0
#: After an interruption workers that say nothing are given up so long after the grace for what is in flight.
_PATIENCE_S = 2.0
_LOOK_S = 0.5


@dataclass(slots=True, eq=False)
class _Member:
    share: Share
    process: ForkProcess
    end: socket.socket
    writer: asyncio.StreamWriter | None = None
    quiet_s: float = 0.0
    over: bool = False
    given_up: str = ""

    @property
    def name(self) -> str:
        return f"worker {self.share.number + 1} of {self.share.of} (PID {self.process.pid})"

    def tell(self, what: Begin | Stop) -> None:
        if self.writer is not None and not self.writer.is_closing():
            self.writer.write(message(what))


class Crew:
    """`count` workers, from `with` to its end: nobody is left then, however that came.

    `say` is told lines for the user. GridError where a worker is lost, since nobody knows what it had sent.
    """

    def __init__(self, setup: Setup, count: int, report: Report, say: Callable[[str], object]) -> None:
        self._setup = setup
        self._count = count
        self._report = report
        self._say = say
        self._members: list[_Member] = []
        self._account = Account()
        self._stop_s = float("inf")
        self.interrupted = False

    def __enter__(self) -> Crew:
        context = multiprocessing.get_context("fork")
        pairs = [socket.socketpair() for _ in range(self._count)]
        for number, (end, own) in enumerate(pairs):
            share = Share(number, self._count)
            others = [each for pair in pairs for each in pair if each is not own and each.fileno() >= 0]
            process = context.Process(
                target=work,
                args=(own, others, self._setup, self._report, share),
                daemon=True,
                name=f"loadtest-{number + 1}",
            )
            process.start()
            own.close()
            self._members.append(_Member(share, process, end))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for member in self._members:
            member.process.kill()
        for member in self._members:
            member.process.join()
            member.end.close()

    @property
    def tally(self) -> Tally:
        """What is known of all so far."""
        return self._account.tally

    def interrupt(self) -> None:
        """All send no more; who says nothing then is given up soon."""
        if not self.interrupted:
            self.interrupted = True
            self._stop_s = time.monotonic() + GRACE_S + _PATIENCE_S
            for member in self._members:
                member.tell(Stop())

    async def send(self) -> Account:
        """All of the scenario; what came of it."""
        readers = [await self._connect(member) for member in self._members]
        watching = asyncio.create_task(self._watch())
        try:
            await self._all(self._ready, readers)
            if not self.interrupted:
                start_s = time.monotonic() + SOON_S
                for member in self._members:
                    member.tell(Begin(start_s))
                await self._all(self._hear, readers)
        finally:
            watching.cancel()
        self._account.asked.sort(key=lambda asked: asked.answered_s)
        self._account.interrupted = self.interrupted
        return self._account

    async def _all(
        self, each: Callable[[_Member, asyncio.StreamReader], Awaitable[None]], readers: Sequence[asyncio.StreamReader]
    ) -> None:
        """Until all are done; the first failure of one is raised."""
        tasks = [asyncio.ensure_future(each(*pair)) for pair in zip(self._members, readers, strict=True)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _connect(self, member: _Member) -> asyncio.StreamReader:
        reader, member.writer = await asyncio.open_unix_connection(sock=member.end)
        return reader

    async def _ready(self, member: _Member, reader: asyncio.StreamReader) -> None:
        if not isinstance(await receive(reader), Ready):
            raise self._lost(member)

    async def _hear(self, member: _Member, reader: asyncio.StreamReader) -> None:
        """Until it has told all."""
        while True:
            heard = await receive(reader)
            member.quiet_s = 0.0
            if isinstance(heard, Broken):
                raise heard.error
            if not isinstance(heard, Part):
                raise self._lost(member)
            self._account.merge(heard.account)
            if heard.last:
                member.over = True
                return

    async def _watch(self) -> None:
        """Tells of workers that say nothing. Counts its own ticks: while all of us are stopped nobody says anything."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for member in self._members:
                if not member.over:
                    self._look_at(member)

    def _look_at(self, member: _Member) -> None:
        before_s, member.quiet_s = member.quiet_s, member.quiet_s + _LOOK_S
        if before_s < QUIET_S <= member.quiet_s:
            self._say(f"{member.name} has said nothing for {QUIET_S:g} s")
        late = time.monotonic() > self._stop_s and member.quiet_s >= _PATIENCE_S
        if late or member.quiet_s >= LOST_S:
            member.given_up = f"said nothing for {member.quiet_s:g} s"
            member.process.kill()

    def _lost(self, member: _Member) -> GridError:
        member.process.join(1.0)
        code = member.process.exitcode
        how = f"was killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with {code}"
        hint = "what it had sent is not known, so there is no result: run it again"
        return GridError(f"{member.name} {member.given_up or how}", hint)
