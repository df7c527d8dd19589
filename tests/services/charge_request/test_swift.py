"""Requests that are answered without a task: the same promises as for all others, whatever a balancer and its stream do."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import pytest
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from prometheus_client import CollectorRegistry

from config.problems import Problem
from config.settings import ChargeRequestSettings
from monitoring.metrics import ChargeRequestMetrics
from services.charge_request.desk import Desk
from services.charge_request.forward import First, Forward
from services.charge_request.reply import Reply
from services.charge_request.service import ChargeRequestService
from services.charge_request.swift import MOST_AS_CAME, Swift
from services.clock import SystemClock
from services.heads import Head
from services.lane import Begun
from services.problem import to_json
from services.serving import Stage
from services.stream import websocket
from services.stream.answering import Fate, Fates, Streams
from services.stream.member import Member
from services.stream.pending import Pending
from services.stream.wire import PATH, Said
from services.tracing import CURRENT, Parent, PassingTracer, Span, parent_in
from services.traffic import Traffic
from services.whole import Whole
from tests.services.grid import BUSY_S, Grid, a_grid, until
from tests.services.lines import noted_lines

LOST = Fate(twice=False, delay_s=0.0, lost=True)
TWICE = Fate(twice=True, delay_s=0.0, lost=False)
LATE = Fate(twice=False, delay_s=0.02, lost=False)
TOO_LATE = Fate(twice=False, delay_s=3.0, lost=False)


class Balancer:
    """Answers on streams as `answers` say, one after the other, then 202; None: nobody is told anything."""

    streamed = "/route"

    def __init__(self, *answers: tuple[int, bytes] | None) -> None:
        self.answers = list(answers)
        self.taken: list[Member] = []
        self.posted = 0
        self.fates: Fates = lambda: None
        self.traffic = Traffic()
        self.streams = Streams(self, self.traffic, PassingTracer(), self._fate)

    def _fate(self) -> Fate | None:
        return self.fates()

    def take(self, members: Sequence[Member], headers: Mapping[str, str]) -> None:
        del headers
        for member in members:
            self.taken.append(member)
            answer = self.answers.pop(0) if self.answers else (202, b'{"routed_to": "substation1"}')
            if answer is not None:
                member.answer(*answer, "7" if answer[0] == 503 else "")

    def headers(self) -> Mapping[str, str]:
        return {}

    async def post(self, _: web.Request) -> web.Response:
        self.posted += 1
        return web.json_response({"routed_to": "substation2"}, status=202)

    async def served(self, grid: Grid, name: str = "balancer") -> str:
        app = web.Application()
        app.router.add_get(PATH, partial(websocket.serve, self.streams), allow_head=False)
        app.router.add_post("/route", self.post)
        app.on_shutdown.append(self.streams.close)
        return await grid.serve_app(name, app)


class Front:
    """A charge-request service, whose lane is asked."""

    def __init__(self, service: ChargeRequestService) -> None:
        self.service = service
        self.stage = Stage.of(service)

    def begin(
        self, body: Any, hear: Callable[[bytes], None], key: str | None = None, parent: Parent | None = None
    ) -> Begun | None:
        text = body if isinstance(body, bytes) else to_json(body)
        headers = CIMultiDictProxy(CIMultiDict({} if key is None else {"Idempotency-Key": key}))
        return self.stage.lane.begin(Head("POST", "/charge", headers, len(text), parent), text, hear)

    async def ask(self, body: Any = None, **more: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Status, headers and body of the answer, to `{"ev_id": "EV1"}` or `body`."""
        told: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        assert self.begin({"ev_id": "EV1"} if body is None else body, told.set_result, **more) is not None
        return _parts(await told)

    async def ask_usually(self, body: Any) -> web.Response:
        headers = CIMultiDictProxy[str](CIMultiDict())
        return await self.service.frequented()["/charge"](Whole("/charge", headers, to_json(body), None))

    @property
    def in_flight(self) -> int:
        return self.stage.traffic.in_flight

    def counted(self, name: str, **labels: str) -> float:
        return self.service.registry.get_sample_value(name, labels) or 0.0


def _unexpected(said: bytes) -> None:
    pytest.fail(f"nobody was to be told {said!r}")


def _parts(said: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
    head, _, body = said.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(headers["Content-Length"]) == len(body.encode())
    return int(first.split()[1]), headers, json.loads(body)


@asynccontextmanager
async def a_front(*balancers: Balancer, timeout_s: float = 10.0) -> AsyncIterator[Front]:
    """One whose streams to `balancers` are open."""
    async with a_grid() as grid:
        urls = tuple([await each.served(grid, f"balancer{number}") for number, each in enumerate(balancers)])
        service = ChargeRequestService(
            ChargeRequestSettings(balancers=urls, request_timeout_s=timeout_s), SystemClock()
        )
        await grid.serve(service)
        for each in balancers:  # the first request opens a stream, and so goes the usual way
            answers, each.answers = each.answers, []
            await until_open(grid, each)
            each.answers = answers
            each.taken.clear()
        yield Front(service)


async def until_open(grid: Grid, balancer: Balancer) -> None:
    while not balancer.taken:
        await grid.post("charge-request", "/charge", {"ev_id": "first"})


async def test_the_usual_request_is_answered_and_counted_once() -> None:
    balancer = Balancer()
    async with a_front(balancer) as front:
        before = (
            front.counted("charge_request_duration_seconds_count"),
            front.counted("charge_requests_total", status="202"),
        )
        told: list[bytes] = []
        begun = front.begin({"ev_id": "EV1", "request_id": "r1", "power_kw": 7.5}, told.append)
        assert begun is not None
        assert (front.in_flight, told) == (1, [])
        await until(lambda: begun.is_over)
        status, headers, body = _parts(told[0])
        assert (status, headers["Content-Type"], body) == (202, "application/json", {"routed_to": "substation1"})
        assert json.loads(balancer.taken[0].body) == {"ev_id": "EV1", "request_id": "r1", "power_kw": 7.5}
        assert 9 < balancer.taken[0].left_s < 10
        assert (front.in_flight, len(told)) == (0, 1)
        after = (
            front.counted("charge_request_duration_seconds_count"),
            front.counted("charge_requests_total", status="202"),
        )
        assert after == (before[0] + 1, before[1] + 1)
        assert front.service.health().fields["requests_total"] == {"202": after[1]}


async def test_no_task_is_made_for_it() -> None:
    balancer = Balancer(*[None] * 20)
    async with a_front(balancer) as front:
        tasks = len(asyncio.all_tasks())
        told: list[bytes] = []
        begun = [front.begin({"ev_id": f"EV{each}"}, told.append) for each in range(20)]
        await until(lambda: len(balancer.taken) == 20)
        assert (len(asyncio.all_tasks()), None in begun) == (tasks, False)
        for member in reversed(balancer.taken):
            member.answer(202, b'{"of": %b}' % member.body)
        await until(lambda: len(told) == 20)
        assert [_parts(said)[2]["of"]["ev_id"] for said in told] == [f"EV{each}" for each in reversed(range(20))]


async def test_nothing_of_it_is_left_for_python_to_look_for() -> None:
    async with a_front(Balancer()) as front:
        gc.collect()
        others = [
            each for each in gc.get_objects() if isinstance(each, Begun | Pending)
        ]  # that tests before this one hold
        gc.disable()
        try:
            await front.ask()
            left = [each for each in gc.get_objects() if isinstance(each, Begun | Pending)]
            assert not [each for each in left if not any(each is other for other in others)]
        finally:
            gc.enable()


async def test_its_id_is_its_own_or_its_headers_or_made() -> None:
    balancer = Balancer()
    async with a_front(balancer) as front:
        await front.ask({"ev_id": "EV1", "request_id": "r1"})
        await front.ask({"ev_id": "EV1", "request_id": "r2"}, key="r2")
        await front.ask({"ev_id": "EV1"}, key="r3")
        await front.ask({"ev_id": "EV1"})
        ids = [json.loads(member.body)["request_id"] for member in balancer.taken]
        assert (ids[:3], len(ids[3])) == (["r1", "r2", "r3"], 32)


async def test_one_that_names_itself_goes_on_as_it_came_and_any_other_is_written_anew() -> None:
    named = b' { "ev_id": "EV 1",\n"request_id":"r1", "power_kw": null }\n'
    long = b'{"ev_id": "EV1", "request_id": "r2"%b}' % (b" " * MOST_AS_CAME)
    nameless = b'{"ev_id": "EV1", "request_id": null}'
    balancer = Balancer()
    async with a_front(balancer) as front:
        for body in (named, long, nameless):
            told: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            assert front.begin(body, told.set_result) is not None
            assert (await told).startswith(b"HTTP/1.1 202 ")
        came = [member.body for member in balancer.taken]
    assert came[0] == named.replace(b"\n", b" ")
    assert came[1] == b'{"ev_id":"EV1","request_id":"r2"}'
    assert (came[2].count(b"request_id"), json.loads(came[2])["ev_id"]) == (1, "EV1")


@pytest.mark.parametrize("said", ["NaN", "-Infinity", "0"])
async def test_an_answer_may_say_what_would_be_no_number(said: str) -> None:
    async with a_front(Balancer((202, b'{"vehicle_id": "%b"}' % said.encode()))) as front:
        status, _, body = await front.ask()
        assert (status, body["vehicle_id"]) == (202, said)


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ([{"ev_id": "EV1"}], None),
        (b' \n[{"ev_id": "EV1"}]', None),
        ({"ev_id": ""}, None),
        (b"no JSON", None),
        (b"", None),
        ({"ev_id": "EV1"}, "no name"),
        ({"ev_id": "EV1", "request_id": "r1"}, "r2"),
    ],
)
async def test_what_is_unusual_is_left_to_the_coroutines(body: Any, key: str | None) -> None:
    balancer = Balancer()
    async with a_front(balancer) as front:
        assert front.begin(body, _unexpected, key) is None
        assert (front.in_flight, balancer.taken) == (0, [])


async def test_where_no_stream_is_open_it_is_left_to_the_coroutines() -> None:
    async with a_grid() as grid:
        url = await Balancer().served(grid)
        service = ChargeRequestService(ChargeRequestSettings(balancers=(url,)), SystemClock())
        await service.start()
        assert Front(service).begin({"ev_id": "EV1"}, _unexpected) is None
        await service.stop()


async def test_a_refusal_is_passed_on_with_the_id_and_counted() -> None:
    refusal = Problem(503, "no room", "no-substations")
    balancer = Balancer((503, to_json(refusal.body())), (409, to_json(Problem(409, "other", "conflict").body())))
    async with a_front(balancer) as front:
        status, headers, body = await front.ask({"ev_id": "EV1", "request_id": "r1"})
        assert (status, headers["Retry-After"], headers["Content-Type"]) == (503, "7", "application/problem+json")
        assert (body["reason"], body["request_id"]) == ("no-substations", "r1")
        assert (await front.ask({"ev_id": "EV1", "request_id": "r2"}))[2]["request_id"] == "r2"
        assert front.counted("charge_request_failures_total", reason="no-substations") == 1
        assert front.counted("charge_requests_total", status="409") == 1


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"{}"),
        (202, b"no JSON"),
        (202, b"[]"),
        (202, b'{"a": NaN}'),
        (202, b'{"a": -Infinity}'),
        (202, b"{}{"),
        (418, b"{}"),
    ],
)
async def test_an_answer_that_no_balancer_gives_is_said_to_be_one(answer: tuple[int, bytes]) -> None:
    async with a_front(Balancer(answer)) as front:
        status, _, body = await front.ask({"ev_id": "EV1", "request_id": "r1"})
        assert (status, body["reason"], body["request_id"]) == (503, "balancer-failed", "r1")
        assert front.counted("charge_request_failures_total", reason="balancer-failed") == 1


async def test_an_answer_that_is_lost_is_asked_for_again_with_the_same_id() -> None:
    balancer = Balancer()
    async with a_front(balancer) as front:
        balancer.fates = lambda: LOST
        asked = asyncio.ensure_future(front.ask())
        await until(lambda: len(balancer.taken) == 1)
        balancer.fates = lambda: None
        assert (await asked)[0] == 202
        assert len({json.loads(member.body)["request_id"] for member in balancer.taken}) == 1
        assert front.in_flight == 0


async def test_a_stream_that_breaks_costs_only_another_try() -> None:
    balancer = Balancer(None, None)
    async with a_front(balancer) as front:
        asked = [asyncio.ensure_future(front.ask()) for _ in range(2)]
        await until(lambda: len(balancer.taken) == 2)
        await balancer.streams.close()
        assert [(await each)[0] for each in asked] == [202, 202]


async def test_a_balancer_that_takes_no_stream_any_more_is_asked_over_http() -> None:
    balancer = Balancer(None)
    async with a_front(balancer) as front:
        asked = asyncio.ensure_future(front.ask())
        await until(lambda: len(balancer.taken) == 1)
        balancer.traffic.stop()
        await balancer.streams.close()
        assert (await asked)[2] == {"routed_to": "substation2"}
        assert balancer.posted == 1


async def test_a_silent_balancer_is_504_in_time_and_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    async with a_front(Balancer(None), timeout_s=0.3) as front:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        status, headers, body = await front.ask({"ev_id": "EV1", "request_id": "r1"})
        assert 0.2 < loop.time() - began_s < 0.3 + BUSY_S
        assert (status, body["reason"], body["request_id"], headers["Retry-After"]) == (
            504,
            "balancer-silent",
            "r1",
            "1",
        )
        assert front.counted("charge_request_failures_total", reason="balancer-silent") == 1
        assert "balancer did not answer" in caplog.text


async def test_the_other_balancer_is_asked_where_one_cannot_answer() -> None:
    passing = (503, to_json(Problem(503, "reads its journal", "recovering").body()))
    balancers = Balancer(passing, passing), Balancer(passing)
    async with a_front(*balancers) as front:
        answers = [await front.ask({"ev_id": "EV1", "request_id": f"r{each}"}) for each in range(4)]
        assert {status for status, _, _ in answers} == {202}
        assert len(balancers[0].answers) < 2
        assert not balancers[1].answers


async def test_a_trace_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    balancer = Balancer()
    async with a_front(balancer) as front:
        parent = parent_in(f"00-{'a' * 32}-{'b' * 16}-01", "vendor=x")
        await front.ask(parent=parent)
        call = balancer.taken[0].call
        assert (call.traceparent[:36], call.traceparent[-3:], call.tracestate) == (f"00-{'a' * 32}-", "-01", "vendor=x")
        assert "b" * 16 not in call.traceparent
        balancer.answers = [(500, b"{}")]
        await front.ask({"ev_id": "EV1", "request_id": "r1"})
    [line] = [record for record in caplog.records if record.message == "balancer did not answer"]
    assert "status 500" in line.__dict__["detail"]


class Broken(Forward):
    """Has two bugs."""

    def reply_to(self, first: First, heard: Said | Exception) -> Reply | None:
        if b"bug" in first.body:
            raise LookupError("this is a bug")
        return super().reply_to(first, heard)

    async def send_on(self, first: First, heard: Said | Exception, deadline_s: float) -> Reply | Problem:
        raise LookupError("this is another")


@pytest.mark.interpreted
@pytest.mark.parametrize("answer", [(202, b"{}"), (500, b"{}")])
async def test_a_bug_here_is_answered(answer: tuple[int, bytes], caplog: pytest.LogCaptureFixture) -> None:
    balancer = Balancer((202, b"{}"), answer)
    with noted_lines() as lines:
        async with a_grid() as grid:
            forward = Broken([await balancer.served(grid)])
            await forward.start()
            assert isinstance(await forward.send(b"{}", time.monotonic() + 10), Reply)
            desk = Desk(ChargeRequestMetrics(CollectorRegistry()), 10.0)
            body = b'{"ev_id": "EV1", "request_id": "%b"}' % (b"bug" if answer[0] == 202 else b"r1")
            told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            swift, no_lines = Swift(forward, desk, time.monotonic), CIMultiDictProxy[str](CIMultiDict())
            parent = parent_in(f"00-{'a' * 32}-{'b' * 16}-01", "")
            assert swift.begin(Whole("/charge", no_lines, body, parent), PassingTracer(), told.set_result) is not None
            response = await told
            assert (response.status, json.loads(response.body)["reason"]) == (500, "internal-error")
            assert json.loads(response.body)["request_id"] in ("bug", "r1")
            assert (desk.statuses, "this is a" in caplog.text) == ({"500": 1}, True)
            await forward.stop()
    assert [line["trace_id"] for line in lines if line["message"] == "failed to answer"] == ["a" * 32]
    assert CURRENT.get() is None, "what comes next is not of this request"


async def test_who_is_waited_for_no_longer_is_not_told_and_counts_no_more() -> None:
    balancer = Balancer(None, None)
    async with a_front(balancer) as front:
        begun = [front.begin({"ev_id": f"EV{each}"}, _unexpected) for each in range(2)]
        await until(lambda: len(balancer.taken) == 2)
        balancer.taken[1].answer(500, b"{}")  # so a task goes on with it
        await until(lambda: len(balancer.taken) == 2 and front.in_flight == 2)
        for each in begun:
            assert each is not None
            await each.end(0.01)
        assert front.in_flight == 0
        balancer.taken[0].answer(202, b"{}")
        assert (await front.ask())[0] == 202


class Noted(Span):
    """A span that knows how often it, or one below it, ended."""

    def __init__(self, span: Span, kin: list[Noted]) -> None:
        super().__init__(span.trace_id, True, "", Random(1))
        self.ends = 0
        self.kin = kin
        kin.append(self)

    def child(self, name: str, attributes: Mapping[str, str]) -> Span:
        return Noted(super().child(name, attributes), self.kin)

    def end(self, status: int | None) -> None:
        self.ends += 1


class NotingTracer(PassingTracer):
    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Noted] = []

    def begin(self, method: str, route: str, parent: Parent | None) -> Span:
        return Noted(super().begin(method, route, parent), self.spans)


@pytest.mark.interpreted
@pytest.mark.parametrize("answer", [(202, b"{}"), (500, b"{}"), None])
async def test_each_span_of_a_request_ends_once_also_of_one_that_is_dropped(answer: tuple[int, bytes] | None) -> None:
    balancer, tracer = Balancer(None, (202, b"{}")), NotingTracer()
    async with a_front(balancer) as front:
        swift = front.service.prompt()["/charge"]
        whole = Whole("/charge", CIMultiDictProxy(CIMultiDict()), b'{"ev_id": "EV1"}', None)
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        drop = swift(whole, tracer, told.set_result)
        assert drop is not None
        await until(lambda: len(balancer.taken) == 1)
        if answer is None:
            drop()
            balancer.taken[0].answer(202, b"{}")
            await front.ask()
        else:
            balancer.taken[0].answer(*answer)
            await told
    assert len(tracer.spans) == 2
    assert {span.ends for span in tracer.spans} == {1}


async def test_a_stop_waits_for_what_is_in_flight_and_says_that_its_connection_closes() -> None:
    balancer = Balancer(None)
    async with a_front(balancer) as front:
        asked = asyncio.ensure_future(front.ask())
        await until(lambda: len(balancer.taken) == 1)
        front.stage.traffic.stop()
        quiet = asyncio.ensure_future(front.stage.traffic.quiet(0.01, 10.0))
        await asyncio.sleep(0.05)  # sleep: longer than the silence that is enough
        assert not quiet.done()
        balancer.taken[0].answer(202, b'{"routed_to": "substation1"}')
        status, headers, _ = await asked
        assert (status, headers["Connection"], await quiet) == (202, "close", True)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_becomes_of_streams_and_clients_each_is_told_and_counted_once(seed: int) -> None:
    rng, balancers = Random(seed), (Balancer(), Balancer())
    weather = [*[None] * 12, LOST, LOST, TWICE, LATE, LATE, TOO_LATE]
    async with a_front(*balancers, timeout_s=1.0) as front:
        for each in balancers:
            each.fates = lambda: rng.choice(weather)
        before, told = front.counted("charge_request_duration_seconds_count"), Counter[int]()
        usual: list[asyncio.Task[web.Response]] = []
        left: set[int] = set()
        begun: dict[int, Begun] = {}
        for number in range(300):
            body = {"ev_id": f"EV{number}"}
            found = front.begin(body, lambda _, number=number: told.update([number]))  # type: ignore[misc]
            if found is None:
                usual.append(asyncio.ensure_future(front.ask_usually(body)))
            else:
                begun[number] = found
            if found is not None and rng.random() < 0.1:
                await found.end(0.001)
                left.update({number} - told.keys())
            if rng.random() < 0.02:
                await rng.choice(balancers).streams.close()
            if rng.random() < 0.2:
                await asyncio.sleep(0)  # sleep: lets the others go on
        await until(lambda: all(each.is_over for each in begun.values()))
        await asyncio.gather(*usual)
        assert begun
        assert told == Counter(begun.keys() - left)
        assert front.counted("charge_request_duration_seconds_count") == before + 300
        assert front.in_flight == 0
