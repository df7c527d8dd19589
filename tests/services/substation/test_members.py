"""Charges over a stream whose commits end when the test says so: what is told before, after, and of whom."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from config.settings import SubstationSettings
from services.clock import SystemClock
from services.journal import Job, Journal, JournalError, attempt
from services.journalfile import JournalFile
from services.stream import wire
from services.stream.answering import Streams
from services.stream.wire import Call
from services.substation.journal import read
from services.substation.service import SubstationService
from services.tracing import PassingTracer
from services.traffic import Traffic
from tests.services.grid import until
from tests.services.lines import noted_lines
from tests.services.stream.pipe import End


class HeldWorker:
    """Does the jobs of a journal when the test lets it; `error` is what comes of those that write then."""

    def __init__(self) -> None:
        self.held = False
        self.jobs: list[Job[Any]] = []

    def __call__(self, file: JournalFile, _: asyncio.AbstractEventLoop) -> HeldWorker:
        self.file = file
        return self

    def start(self) -> None: ...

    def do(self, job: Job[Any]) -> None:
        if self.held:
            self.jobs.append(job)
        else:
            job.tell(*attempt(job, self.file))

    def let_go(self, error: JournalError | None = None) -> None:
        """All that waits is done, or fails."""
        self.held, jobs, self.jobs = False, self.jobs, []
        for job in jobs:
            job.tell(*((None, error) if error else attempt(job, self.file)))

    def end(self) -> None:
        self.file.close()

    def join(self, timeout_s: float) -> None: ...


class Station:
    """A substation at the other end of a stream."""

    def __init__(self, path: Path) -> None:
        self.worker = HeldWorker()
        settings = SubstationSettings(name="s1", journal=str(path))
        self.service = SubstationService(settings, SystemClock(), Random(1), partial(Journal, worker=self.worker))
        self.here, there = End(), End()
        self.here.other, there.other = there, self.here
        self._serving = asyncio.ensure_future(
            Streams(self.service, Traffic(), PassingTracer()).serve(there, {}),
        )
        self._there = there

    async def ask(self, *calls: Call) -> None:
        """All in one message."""
        await self.here.send(b"".join(map(wire.put_call, calls)))

    @property
    def told(self) -> dict[int, int]:
        """The status of each call that was answered."""
        return {answer.number: answer.status for said in self._there.sent for answer in wire.answers_of(said)}

    async def stop(self) -> None:
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)
        await self.service.stop()


@asynccontextmanager
async def a_station(path: Path) -> AsyncIterator[Station]:
    station = Station(path)
    await station.service.start()
    yield station
    await station.stop()


def charge(number: int, request_id: str = "r", attempt: int = 1, trace: str = "") -> Call:
    body = {"ev_id": f"EV-{request_id}", "request_id": request_id, "attempt": attempt}
    return Call(number, 5000, json.dumps(body).encode(), trace)


FULL = JournalError("journal-full", "no room")


async def ask_for_a_higher_attempt(station: Station) -> None:
    """Attempt 1 is kept (call 1), attempt 2 (calls 2 and 3) under way."""
    await station.ask(charge(1))
    await until(lambda: station.told == {1: 202})
    station.worker.held = True
    await station.ask(charge(2, attempt=2))
    await until(lambda: len(station.worker.jobs) == 1)
    await station.ask(charge(3, attempt=2))  # the balancer asks again where it heard nothing
    await station.ask(charge(4, "another", 0))  # invalid: answered at once, so all before it was taken
    await until(lambda: 4 in station.told)


async def test_a_higher_attempt_is_told_202_once_that_survives(tmp_path: Path) -> None:
    """Else a restart knows the lower one only, and a revocation of that ends what was promised."""
    async with a_station(tmp_path / "s.db") as station:
        await ask_for_a_higher_attempt(station)
        assert station.told == {1: 202, 4: 422}
        station.worker.let_go()
        await until(lambda: len(station.told) == 4)
        assert station.told == {1: 202, 2: 202, 3: 202, 4: 422}
        assert [each.attempt for each in read(tmp_path / "s.db").sessions] == [2]


async def test_a_higher_attempt_that_cannot_be_written_is_refused_whoever_asks(tmp_path: Path) -> None:
    async with a_station(tmp_path / "s.db") as station:
        await ask_for_a_higher_attempt(station)
        station.worker.let_go(FULL)
        await until(lambda: len(station.told) == 4)
        assert station.told == {1: 202, 2: 503, 3: 503, 4: 422}
        assert station.service.admission.sessions == 1, "the first attempt charges on"
        await until(lambda: station.service.health().status == "ok")  # the disk works again
        await station.ask(charge(5, attempt=2))
        await until(lambda: station.told.get(5) == 202)
        assert [each.attempt for each in read(tmp_path / "s.db").sessions] == [2]


async def test_what_a_failed_commit_refuses_is_logged_with_its_own_trace(tmp_path: Path) -> None:
    with noted_lines() as lines:
        async with a_station(tmp_path / "s.db") as station:
            await station.ask(charge(9, "r9"))
            await until(lambda: station.told == {9: 202})
            station.worker.held = True
            for number in (1, 2, 3):
                trace = f"00-{str(number) * 32}-{str(number) * 16}-01"
                await station.ask(charge(number, f"r{number}", trace=trace))
            await station.ask(charge(4, "another", 0))
            await until(lambda: 4 in station.told)
            station.worker.let_go(FULL)
            await until(lambda: len(station.told) == 5)
    refused = {line["request_id"]: line.get("trace_id", "")[:4] for line in lines if line["message"] == "refused"}
    assert refused == {"r1": "1111", "r2": "2222", "r3": "3333"}
