"""Balancer and substations over streams: real sockets, and substations that are older, others, or too slow."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import web

from config.report import MEANT
from config.settings import SubstationSettings
from services.balancer.line import HttpLine, Result
from services.balancer.targets import Target
from services.clock import SystemClock
from services.http import application
from services.journal import Job, Journal
from services.journalfile import JournalFile
from services.journalthread import JournalThread
from services.service import Asked
from services.stream.member import Member
from services.stream.wire import PATH
from services.substation.service import SubstationService
from services.traffic import Traffic
from tests.services.grid import Grid, a_grid, until


class Watched(SubstationService):
    """Counts what it is asked; holds back what `slow` EVs ask until `gate` opens."""

    def __init__(self, name: str = "substation1", slow: Sequence[str] = ()) -> None:
        super().__init__(SubstationSettings(name=name, max_sessions=1000), SystemClock(), Random())
        self.paths: Counter[str] = Counter()
        self.batches: list[int] = []
        self.gate = asyncio.Event()
        self._slow = tuple(f'"ev_id":"{ev_id}"'.encode() for ev_id in slow)

    def heard(self, request: Asked) -> None:
        self.paths[request.path] += 1
        super().heard(request)

    def take(self, members: Sequence[Member], headers: Mapping[str, str]) -> None:
        self.batches.append(len(members))
        held = [member for member in members if any(slow in member.body for slow in self._slow)]
        super().take([member for member in members if member not in held], headers)
        if held:
            self._tasks = [asyncio.ensure_future(self._later(held, headers))]

    async def _later(self, members: Sequence[Member], headers: Mapping[str, str]) -> None:
        await self.gate.wait()
        super().take(members, headers)


async def _placed(grid: Grid, *ev_ids: str) -> list[int]:
    answers = await asyncio.gather(*(grid.route(ev_id, request_id=ev_id) for ev_id in ev_ids))
    return [answer.status for answer in answers]


async def test_charges_go_together_on_one_connection() -> None:
    async with a_grid() as grid:
        station = Watched()
        await grid.serve(station)
        await grid.balancer("substation1")
        body = [{"ev_id": f"EV{number}"} for number in range(100)]
        answer = await grid.post("balancer", "/route", body)
        assert {each["status_code"] for each in await answer.json()} == {202}
        assert station.admission.sessions == 100
        assert (station.paths[PATH], station.paths["/charge"]) == (1, 0)
        assert len(station.batches) <= 10


async def test_a_slow_member_does_not_delay_the_others_of_its_batch() -> None:
    async with a_grid() as grid:
        station = Watched(slow=["slow"])
        await grid.serve(station)
        await grid.balancer("substation1")
        slow = asyncio.ensure_future(_placed(grid, "slow"))
        assert await _placed(grid, *(f"EV{number}" for number in range(20))) == [202] * 20
        assert not slow.done()
        station.gate.set()
        assert await slow == [202]


async def test_an_older_substation_is_asked_over_http() -> None:
    async with a_grid() as grid:
        station = Watched()
        await station.start()
        app = web.Application()
        app.add_routes(station.routes())
        app.router.add_get("/metrics", _metrics(station))
        await grid.serve_app("substation1", app)
        await grid.balancer("substation1")
        assert await _placed(grid, "EV1", "EV2") == [202, 202]
        assert station.batches == []
        await station.stop()


def _metrics(station: SubstationService) -> Any:
    async def metrics(_: web.Request) -> web.Response:
        return web.Response(headers=station.headers())

    return metrics


async def test_one_that_is_not_meant_takes_nothing() -> None:
    async with a_grid() as grid:
        station = Watched("other")
        url = await grid.serve(station)
        line = HttpLine("http://127.0.0.1:8081")
        await line.start()
        target = Target("substation1", url, learned=True)
        answer = await line.charge(target, "r1", b'{"ev_id":"EV1","request_id":"r1"}', 5.0)
        assert (answer.result, MEANT in line._named(target)) == (Result.CLOSED, True)
        assert (station.batches, station.admission.sessions) == ([], 0)
        await line.stop()


async def test_a_fenced_balancer_starts_nothing_on_a_stream_that_was_open_before() -> None:
    async with a_grid() as grid:
        station = Watched()
        url = await grid.serve(station)
        line = HttpLine("http://127.0.0.1:8081")
        await line.start()
        line.identify(7)
        target = Target("substation1", url)
        first = await line.charge(target, "r1", b'{"ev_id":"EV1","request_id":"r1"}', 5.0)
        await line.fence(target, "http://127.0.0.1:8081", 7, 5.0)
        second = await line.charge(target, "r2", b'{"ev_id":"EV2","request_id":"r2"}', 5.0)
        line.identify(8)
        third = await line.charge(target, "r3", b'{"ev_id":"EV3","request_id":"r3"}', 5.0)
        assert [each.result for each in (first, second, third)] == [Result.ACCEPTED, Result.FENCED, Result.ACCEPTED]
        assert second.body["incarnation"] == 7
        assert station.paths[PATH] == 2, "an incarnation has streams of its own"
        await line.stop()


async def test_a_substation_that_stops_is_asked_no_more_on_the_stream_but_answers_what_it_has() -> None:
    async with a_grid() as grid:
        station, traffic = Watched(slow=["slow"]), Traffic()
        await station.start()
        await grid.serve_app("substation1", application(station, traffic))
        await grid.balancer("substation1")
        slow = asyncio.ensure_future(_placed(grid, "slow"))
        await until(lambda: traffic.in_flight == 1)
        traffic.stop()
        assert await _placed(grid, "EV1") == [202]
        assert traffic.in_flight == 1
        station.gate.set()
        assert await slow == [202]
        await until(lambda: traffic.in_flight == 0)
        await station.stop()


class Counting:
    """Writes a journal as usual, and counts what was written together."""

    def __init__(self, file: JournalFile, loop: asyncio.AbstractEventLoop) -> None:
        self._thread = JournalThread(file, loop)
        self.start, self.end, self.join = self._thread.start, self._thread.end, self._thread.join
        self.jobs = 0

    def do(self, job: Job[Any]) -> None:
        self.jobs += 1
        self._thread.do(job)


async def test_what_comes_together_is_written_with_one_commit(tmp_path: Path) -> None:
    async with a_grid() as grid:
        writers: list[Counting] = []

        def counting(file: JournalFile, loop: asyncio.AbstractEventLoop) -> Counting:
            writers.append(Counting(file, loop))
            return writers[-1]

        settings = SubstationSettings(name="substation1", max_sessions=1000, journal=str(tmp_path / "1.db"))
        await grid.serve(SubstationService(settings, SystemClock(), Random(), partial(Journal, worker=counting)))
        await grid.balancer("substation1")
        answer = await grid.post("balancer", "/route", [{"ev_id": f"EV{number}"} for number in range(200)])
        assert {each["status_code"] for each in await answer.json()} == {202}
        assert len(writers) == 1
        assert 1 <= writers[0].jobs <= 10, "a commit a message, or fewer"
