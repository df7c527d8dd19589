"""What a poll asks for: of our own the report alone, of older and foreign ones the whole page; and when in the interval."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any, ClassVar

import pytest
from aiohttp import web

from config.report import HEADER, Report
from config.settings import BalancerSettings
from services.balancer.account import Account
from services.balancer.book import Entry
from services.balancer.glance import Glances, _Glance
from services.balancer.ledger import Ledger
from services.balancer.line import HttpLine, Page, Silent
from services.balancer.targets import Target
from services.balancer.watch import FIRST_AT_ONCE, Watch
from services.question import Odd
from tests.services.balancer.virtual import Yard, run
from tests.services.grid import Grid, a_grid

FIVE = Report(epoch=7, seq=1, sessions=0, load_w=0, max_sessions=5).encode()


class Asked:
    """A server that notes which paths were asked, and answers what it is told to."""

    def __init__(self, **answers: web.Response) -> None:
        self.paths: list[str] = []
        self.app = web.Application()
        self._answers = answers
        self.app.router.add_get("/{path}", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.paths.append(path)
        told = self._answers.get(path, web.Response(status=404))
        return web.Response(body=told.body, status=told.status, headers=told.headers)


async def polled(grid: Grid, asked: Asked, **about: Any) -> Any:
    await grid.serve_app("asked", asked.app)
    line = HttpLine("http://127.0.0.1:9")
    await line.start()
    try:
        return await line.page(Target("asked", grid.urls["asked"], **about), 2.0)
    finally:
        await line.stop()


async def test_a_substation_of_ours_is_asked_for_its_report_and_nothing_else() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1", max_sessions=3)
        async with grid.client.get(f"{grid.urls['substation1']}/report") as answer:
            assert (answer.status, await answer.read()) == (204, b"")
            assert Report.decode(answer.headers[HEADER]).max_sessions == 3
        asked = Asked(report=web.Response(status=204, headers={HEADER: FIVE}))
        assert (await polled(grid, asked)).report == Report.decode(FIVE)
        assert asked.paths == ["report"]


async def test_an_older_one_reports_with_its_404() -> None:
    async with a_grid() as grid:
        asked = Asked(report=web.Response(status=404, headers={HEADER: FIVE}))
        assert (await polled(grid, asked)).report == Report.decode(FIVE)
        assert set(asked.paths) == {"report"}


async def test_one_without_a_report_is_read_from_its_page() -> None:
    async with a_grid() as grid:
        asked = Asked(metrics=web.Response(text="substation_current_load 2\n"))
        page = await polled(grid, asked)
        assert (page.report, page.text) == (None, "substation_current_load 2\n")
        assert asked.paths == ["report", "report", "metrics"]


async def test_an_external_one_is_asked_for_its_page_only() -> None:
    async with a_grid() as grid:
        asked = Asked(metrics=web.Response(text="cars 2\n"))
        assert (await polled(grid, asked, external=True)).text == "cars 2\n"
        assert asked.paths == ["metrics"]


@pytest.mark.parametrize("external", [True, False])
async def test_one_with_neither_is_silent(external: bool) -> None:
    async with a_grid() as grid:
        asked = Asked(metrics=web.Response(status=503))
        with pytest.raises(Silent, match="/metrics answered 503"):
            await polled(grid, asked, external=external)


class Noting(HttpLine):
    """A line without a network: each poll takes `takes_s`, and when it began is noted."""

    def __init__(self, takes_s: float) -> None:
        super().__init__()
        self.takes_s = takes_s
        self.began_s: list[tuple[float, str]] = []
        self.at_once = self.most_at_once = 0

    async def page(self, target: Target, timeout_s: float) -> Page:
        self.began_s.append((asyncio.get_running_loop().time(), target.name))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.takes_s)  # sleep: of a clock that jumps
        self.at_once -= 1
        return Page(Report.decode(FIVE), "")

    async def sessions(self, target: Target, since_s: float, timeout_s: float) -> dict[str, Any]:
        return {"epoch": 7, "now_s": 0, "sessions": []}


class Deaf:
    """Whom a watch tells."""

    fences: ClassVar[Mapping[str, int]] = {}

    def collected(self, substation: str, epoch: int, entries: Sequence[Entry]) -> None: ...

    def changed(self, new: Sequence[Account], gone: Sequence[Account]) -> None: ...


def test_a_thousand_are_polled_by_and_by_and_each_once_an_interval() -> None:
    yard = Yard([])
    line = Noting(0.1)

    async def watch() -> None:
        settings = BalancerSettings(substations=tuple(f"s{k}=h:{k + 1}" for k in range(1_000)))
        watch = Watch(settings, Ledger(7_400), line, Deaf(), Random(3), asyncio.get_running_loop().time)
        await watch.start()
        await watch.ready.wait()
        assert len({name for _, name in line.began_s}) == 1_000
        assert FIRST_AT_ONCE <= line.most_at_once <= 1.25 * FIRST_AT_ONCE, "some are polled again already"
        await asyncio.sleep(60.0)  # sleep: of a clock that jumps
        await watch.stop()

    run(yard, watch())
    settled = [(at_s, name) for at_s, name in line.began_s if 30.0 <= at_s - line.began_s[0][0] < 55.0]
    by_tenth = Counter(int(at_s * 10) for at_s, _ in settled)
    assert max(by_tenth.values()) <= 2.5 * 1_000 / 50, "a tenth of a second has its share of the interval's 5 s"
    assert set(Counter(name for _, name in settled).values()) <= {4, 5, 6}


class Fenced(Deaf):
    """Another balancer counts as dead there; what was collected is noted."""

    def __init__(self, **fences: int) -> None:
        self.fences = fences  # type: ignore[misc]
        self.heard: list[tuple[int, int]] = []

    def collected(self, substation: str, epoch: int, entries: Sequence[Entry]) -> None:
        self.heard.append((epoch, len(entries)))


class Reporting(Noting):
    """One substation, which reports as the test says; who asks for its sessions is counted."""

    def __init__(self) -> None:
        super().__init__(0.1)
        self.says = Report(epoch=7, seq=0, sessions=0, load_w=0, max_sessions=5)
        self.lists = 0

    async def page(self, target: Target, timeout_s: float) -> Page:
        return Page(self.says, "")

    async def fence(self, target: Target, url: str, incarnation: int, timeout_s: float) -> None: ...

    async def sessions(self, target: Target, since_s: float, timeout_s: float) -> dict[str, Any]:
        self.lists += 1
        return {"epoch": self.says.epoch, "now_s": 0, "sessions": []}


def test_one_that_never_had_a_session_is_not_asked_for_any_but_where_another_balancer_is_fenced() -> None:
    lists = []

    async def watch(line: Reporting, deaf: Fenced) -> None:
        now_s = asyncio.get_running_loop().time
        watch = Watch(BalancerSettings(substations=("s1=h:1",)), Ledger(7_400), line, deaf, Random(3), now_s)
        await watch.start()
        await asyncio.sleep(60.0)  # sleep: of a clock that jumps
        lists.append(line.lists)
        line.says = Report(epoch=8, seq=0, sessions=0, load_w=0, max_sessions=5)
        await asyncio.sleep(60.0)  # sleep: likewise
        lists.append(line.lists)
        line.says = Report(epoch=9, seq=1, sessions=0, load_w=0, max_sessions=5)
        await asyncio.sleep(60.0)  # sleep: likewise
        lists.append(line.lists)
        await watch.stop()

    for fences in ({}, {"http://b": 1}):
        deaf = Fenced(**fences)
        run(Yard([]), watch(Reporting(), deaf))
        assert deaf.heard == [(7, 0)] * 3 + [(8, 0)] * 3 + [(9, 0)] * 3, "each time at once, again, and once more"
    assert lists == [0, 0, 3, 3, 6, 9]


@asynccontextmanager
async def raw(*answers: bytes, connections: int) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives `answers`, one to each request on any of its `connections`, and closes where none is left."""
    asked: list[bytes] = []
    left = list(answers)
    served = asyncio.Semaphore(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                asked.append(await reader.readuntil(b"\r\n\r\n"))
                if not left:
                    break
                for piece in left.pop(0).partition(b"epoch"):
                    writer.write(piece)
                    await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        served.release()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
        for _ in range(connections):
            await asyncio.wait_for(served.acquire(), 10)


GOOD = f"HTTP/1.1 204 No Content\r\ngrid-REPORT: {FIVE}\r\nX: y\r\n\r\n".encode()


async def test_a_glance_keeps_its_connection_and_brings_what_it_is_told_to() -> None:
    async with raw(GOOD, GOOD, GOOD, connections=2) as (url, asked):
        glances = Glances()
        for _ in range(3):
            assert await glances.report(f"{url}/under", {"Grid-Balancer": "http://b"}, 2.0) == FIVE
        assert (
            asked == [f"GET /under/report HTTP/1.1\r\nHost: {url[7:]}\r\nGrid-Balancer: http://b\r\n\r\n".encode()] * 3
        )
        assert len(glances._open) == 1
        with pytest.raises((Odd, OSError)):  # the server closes
            await glances.report(url, {}, 2.0)
        with pytest.raises(Odd):
            await glances.report(url, {"Grid-Balancer": "a\r\nb: c"}, 2.0)
        with pytest.raises(Odd):
            await glances.report("https://127.0.0.1:1", {}, 2.0)
        glances.close()


async def test_a_glance_brings_what_it_is_told_to_now_and_not_what_it_brought_before() -> None:
    async with raw(*[GOOD] * 4, connections=1) as (url, asked):
        glances = Glances()
        for incarnation in ("1", "2", "2", "1"):
            await glances.report(url, {"Grid-Incarnation": incarnation}, 2.0)
        assert [question.split(b"Incarnation: ")[1][:1] for question in asked] == [b"1", b"2", b"2", b"1"]
        glances.close()


@pytest.mark.parametrize(
    "answer",
    [
        GOOD.replace(b"204", b"200"),
        GOOD.replace(b"X: y", b"Content-Length: 3"),
        GOOD.replace(b"X: y", b"Transfer-Encoding: chunked"),
        GOOD.replace(b"X: y", b"connection: CLOSE"),
        GOOD.replace(b"grid-REPORT", b"grid-REPORTS"),
        GOOD + b"more",
        GOOD + GOOD,
        b"x" * 10_000,
    ],
)
async def test_what_is_no_poll_s_answer_is_left_to_the_usual_way_on_another_connection(answer: bytes) -> None:
    async with raw(answer, GOOD, connections=2) as (url, asked):
        glances = Glances()
        with pytest.raises(Odd):
            await glances.report(url, {}, 2.0)
        assert not glances._open
        assert await glances.report(url, {}, 2.0) == FIVE
        assert len(asked) == 2
        glances.close()


async def test_one_that_hangs_is_not_waited_for_and_its_late_answer_is_nobody_s() -> None:
    async with raw(b"", GOOD, connections=2) as (url, _):
        glances = Glances()
        with pytest.raises(TimeoutError):
            await glances.report(url, {}, 0.05)
        assert not glances._open
        assert await glances.report(url, {}, 2.0) == FIVE
        glances.close()


class Hanging(_Glance):
    """It is connected to and never answers."""

    async def ask(self, request: bytes) -> str:
        await asyncio.Event().wait()
        return ""


class Slow(Glances):
    """Who is connected to only after most of the time."""

    async def _connect(self, url: str, timeout_s: float) -> _Glance:
        await asyncio.sleep(0.7 * timeout_s)  # sleep: of a clock that jumps
        return Hanging()


def test_to_connect_and_to_be_answered_together_take_no_longer_than_they_may() -> None:
    async def ask() -> float:
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await Slow().report("http://127.0.0.1:1", {}, 2.0)
        return asyncio.get_running_loop().time() - began_s

    assert run(Yard([]), ask()) == pytest.approx(2.0, abs=0.01)
