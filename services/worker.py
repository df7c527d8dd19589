"""One of several workers that share a port: it tells of itself, and of all. Must not know what it answers.

Who asks on the shared port is answered by any of them, so what any says there of the service must be what all did. Each
notes what it counted on a page of memory that they share, where the next process of that number goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from config.access import Access, Patience
from monitoring.joint import Family, Joint, added, counted, together, told
from services.connection import Connection
from services.http import about
from services.service import Health, Service
from services.sheet import PAGES, Sheet
from services.traffic import Traffic
from services.turns import Turns
from services.visits import Visits

#: How often each notes what it counted (wall seconds): so much of it is lost when it is killed.
NOTE_S = 0.25
#: One that noted nothing for so long is not counted among the living.
SILENT_S = 2.0
#: Who asks for the figures of all waits until all have noted theirs, and looks so often, a fifth of that apart.
LOOKS = 10
#: What a worker that takes no connection notes as their number.
TAKES_NONE = 1 << 40
#: Workers may differ by a part of their connections: nobody waits for the last one.
_SLACK = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Worker:
    """Its number among the workers, from 0, their memory, and the listening socket on which it tells of itself, if any."""

    number: int
    sheet: Sheet
    own: socket.socket | None = None


@dataclass(frozen=True, slots=True)
class _Note:
    """What stands on one worker's page."""

    at_s: float
    name: str
    status: str
    families: list[Family]
    requests: Mapping[str, int]


class Shift:
    """`service` at work as `worker`; see services.service.Crew. One event loop only."""

    def __init__(self, service: Service, worker: Worker, now_s: Callable[[], float] = time.monotonic) -> None:
        self._service, self._worker, self._now_s = service, worker, now_s
        self._count: Callable[[], int] = lambda: TAKES_NONE
        self._others: list[int] = []
        past = self._read(worker.number)
        self._past = counted([] if past is None else past.families)
        self._past_requests = Counter({} if past is None else past.requests)

    def health(self) -> Health:
        """Its own view, with what all answered, and who they are."""
        found = self._service.health()
        self.note()
        notes, now_s = self._notes(), self._now_s()
        requests: Counter[str] = Counter()
        for note in notes:
            requests.update(note.requests)
        workers = {note.name: self._status(note, now_s) for note in notes if note.status != "gone"}
        return Health(found.status, {**found.fields, "requests_total": dict(requests), "workers": workers}, found.blank)

    def _status(self, note: _Note, now_s: float) -> str:
        return note.status if self._lives(note, now_s) else "silent"

    async def figures(self) -> Joint:
        """What all counted up to this moment, as far as those who live say so soon."""
        self.note()
        asked_s = self._now_s()
        for _ in range(LOOKS):
            if all(note.at_s >= asked_s for note in self._notes() if self._lives(note, asked_s)):
                break
            await asyncio.sleep(NOTE_S / 5)
            self.note()
        notes, now_s = self._notes(), self._now_s()
        living = [note.families for note in notes if self._lives(note, now_s)]
        return Joint(together(living, [note.families for note in notes if not self._lives(note, now_s)]))

    def _lives(self, note: _Note, now_s: float) -> bool:
        return note.status != "gone" and now_s - note.at_s < SILENT_S

    def note(self, gone: bool = False) -> None:
        """Writes down what the service counted until now, on top of what earlier processes of this number did."""
        found = self._service.health()
        requests = self._past_requests + Counter(found.fields.get("requests_total") or {})
        families = added(self._past, told(self._service.registry))
        status = "gone" if gone else found.status
        content = json.dumps([self._service.name, status, families, requests]).encode()
        if not self._worker.sheet.write(self._worker.number, content, self._now_s()):
            _log.error("what is counted here is too much for its page", extra={"bytes": len(content)})
        sheet, own, now_s = self._worker.sheet, self._worker.number, self._now_s()
        self._others = [each for each in range(PAGES) if each != own and now_s - sheet.noted_s(each) < SILENT_S]

    def _read(self, number: int) -> _Note | None:
        entry = self._worker.sheet.read(number)
        return None if entry is None else _Note(entry.at_s, *json.loads(entry.content))

    def _notes(self) -> list[_Note]:
        return [note for number in range(PAGES) if (note := self._read(number)) is not None]

    def turns(self, sock: socket.socket, connection: Callable[[], asyncio.Protocol], count: Callable[[], int]) -> Turns:
        """Takes connections from `sock` in turn with the others."""
        sheet, number = self._worker.sheet, self._worker.number
        self._count = count

        def spare(making: int) -> int:
            own = count() + making
            sheet.connect(number, own)
            return min([sheet.connections(each) for each in self._others], default=own) - own + own // _SLACK

        def left() -> None:
            self._count = lambda: TAKES_NONE
            sheet.connect(number, TAKES_NONE)

        return Turns(sock, connection, spare, left)

    @contextlib.asynccontextmanager
    async def working(self, access: Access, patience: Patience) -> AsyncIterator[None]:
        """Within it this worker notes what it counts and, on its own socket, tells `/health` and `/metrics` of itself."""
        self.note()
        noting = asyncio.ensure_future(self._keep_noting())
        own = self._worker.own
        try:
            async with contextlib.nullcontext() if own is None else _telling(self._service, own, access, patience):
                yield
        finally:
            noting.cancel()
            self.note(gone=True)

    async def _keep_noting(self) -> None:
        while True:
            await asyncio.sleep(NOTE_S)
            self.note()
            self._worker.sheet.connect(self._worker.number, self._count())


@contextlib.asynccontextmanager
async def _telling(service: Service, own: socket.socket, access: Access, patience: Patience) -> AsyncIterator[None]:
    runner, visits = web.AppRunner(about(service, Traffic(), access), access_log=None), Visits(patience)
    await runner.setup()
    loop = asyncio.get_running_loop()
    server = runner.server
    if server is None:
        raise RuntimeError("the runner was not set up")
    try:
        listener = await loop.create_server(lambda: Connection(server, visits=visits, loop=loop), sock=own)
        try:
            yield
        finally:
            listener.close()
    finally:
        await runner.cleanup()
        visits.close()
