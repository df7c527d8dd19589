"""W3C Trace Context as its specification has it, and where it goes: through a whole grid, into log lines and exemplars."""

from __future__ import annotations

import asyncio
import json
import logging
from random import Random
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from config.access import LOCAL
from config.settings import ChargeRequestSettings, SubstationSettings
from services.charge_request.service import ChargeRequestService
from services.clock import SystemClock
from services.http import application
from services.logs import JsonLines
from services.substation.service import SubstationService
from services.tracing import CURRENT, REQUEST_ID, Hop, Parent, PassingTracer, Span, apart, parent_of, state_of
from services.traffic import Traffic
from tests.services.grid import Grid, a_grid, until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
OPEN_METRICS = {"Accept": "application/openmetrics-text"}
LIKE_ONE = r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.*"


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (PARENT, True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"  00-{TRACE}-{SPAN}-01\t", True),
        # bits that are not known yet say nothing (section 3.2.2.5)
        (f"00-{TRACE}-{SPAN}-ff", True),
        (f"00-{TRACE}-{SPAN}-02", False),
        # a later version begins alike and may go on behind a dash (section 3.2.2.1)
        (f"01-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", True),
        (f"cc-{TRACE}-{SPAN}-01-", True),
    ],
)
def test_a_traceparent_is_taken(text: str, sampled: bool) -> None:
    assert parent_of(CIMultiDict({"TraceParent": text})) == Parent(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0x",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01-",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"cc-{TRACE}-{SPAN}-011",
        f"0-{TRACE}-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE[:-1]}\u0663-{SPAN}-01",
        f"{PARENT},{PARENT}",
    ],
)
def test_one_that_cannot_be_is_none(text: str) -> None:
    assert parent_of(CIMultiDict({"traceparent": text, "tracestate": "a=1"})) is None


def test_two_headers_are_none_and_a_state_alone_is_nothing() -> None:
    assert parent_of(CIMultiDict([("traceparent", PARENT), ("traceparent", PARENT)])) is None
    assert parent_of(CIMultiDict({"tracestate": "a=1"})) is None


@pytest.mark.parametrize(
    ("texts", "state"),
    [
        ([], ""),
        (["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"], "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        (["a=1", "b=2 , c=3"], "a=1,b=2,c=3"),
        (["a=1,,b=2,", " "], "a=1,b=2"),
        (["tenant@system=x, 0t@s=y"], "tenant@system=x,0t@s=y"),
        (["a=with blank inside"], "a=with blank inside"),
        (["A=1"], ""),
        (["a"], ""),
        (["a="], ""),
        (["a=1=2"], ""),
        (["a=1,a=2"], ""),
        (["a=\u00e9"], ""),
        ([",".join(f"k{number}=v" for number in range(32))], ",".join(f"k{number}=v" for number in range(32))),
        ([",".join(f"k{number}=v" for number in range(33))], ""),
        (["a=" + "x" * 256], "a=" + "x" * 256),
        (["a=" + "x" * 257], ""),
    ],
)
def test_a_tracestate_goes_on_whole_or_not_at_all(texts: list[str], state: str) -> None:
    assert state_of(texts) == state
    headers = CIMultiDict([("traceparent", PARENT), *(("tracestate", text) for text in texts)])
    assert parent_of(headers) == Parent(TRACE, SPAN, True, state)


@given(
    text=st.text() | st.from_regex(LIKE_ONE, fullmatch=True),
    seed=st.integers(),
)
def test_what_is_passed_on_can_be_taken_again(text: str, seed: int) -> None:
    parent = parent_of(CIMultiDict({"traceparent": text}))
    span = PassingTracer(Random(seed)).begin("GET", "/x", parent)
    child = span.child("y", {})
    told = parent_of(CIMultiDict(child.headers()))
    assert told == Parent(span.trace_id, child.span_id, parent is not None and parent.sampled)
    assert parent is None or parent.trace_id == told.trace_id
    assert len({child.span_id, span.span_id, parent.span_id if parent else ""}) == 3


async def test_what_is_apart_is_in_no_trace() -> None:
    CURRENT.set(PassingTracer().begin("GET", "/x", None))
    with Hop("y") as hop:
        assert "traceparent" in hop.headers

    async def headers() -> dict[str, str]:
        return dict(Hop("z").headers)

    assert await asyncio.create_task(headers(), context=apart()) == {}
    assert await asyncio.create_task(headers()) != {}


def test_log_lines_say_what_they_are_about() -> None:
    lines = JsonLines("b1", "balancer")
    record = logging.makeLogRecord({"msg": "refused", "request_id": "its-own"})
    assert "trace_id" not in lines.format(record)

    def within() -> tuple[dict[str, Any], dict[str, Any]]:
        CURRENT.set(PassingTracer().begin("GET", "/x", Parent(TRACE, SPAN, True)))
        REQUEST_ID.set("r1")
        return json.loads(lines.format(record)), json.loads(lines.format(logging.makeLogRecord({"msg": "x"})))

    own, other = apart().run(within)
    assert (own["request_id"], other["request_id"]) == ("its-own", "r1")
    assert own["trace_id"] == other["trace_id"] == TRACE
    assert own["span_id"] not in (SPAN, "0" * 16)


class Seen:
    """What a substation that is none of ours was told, and all that a grid before it writes down."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.status = 202

    async def charge(self, request: web.Request) -> web.Response:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        return web.Response(status=self.status)

    async def metrics(self, request: web.Request) -> web.Response:
        assert "traceparent" not in request.headers, "a poll is no part of anybody's request"
        return web.Response(text="substation_current_load 0\n")


async def _grid(grid: Grid, seen: Seen, **more: Any) -> None:
    url = await grid.third_party("other", seen.charge, seen.metrics)
    await grid.balancer(f"other={url}#substation_current_load", **more)
    settings = ChargeRequestSettings(balancers=(grid.urls["balancer"],), request_timeout_s=2)
    await grid.serve(ChargeRequestService(settings, SystemClock()))


async def test_a_trace_goes_through_all_hops_with_a_new_span_at_each() -> None:
    async with a_grid() as grid:
        seen = Seen()
        await _grid(grid, seen)
        headers = {"traceparent": PARENT, "tracestate": "a=1, b=2"}
        assert (await grid.post("charge-request", "/charge", {"ev_id": "EV1"}, headers=headers)).status == 202
        assert (await grid.post("charge-request", "/charge", {"ev_id": "EV2"})).status == 202
        assert (await grid.post("charge-request", "/charge", [{"ev_id": f"EVS{n}"} for n in range(3)])).status == 200
        bad = {"traceparent": f"00-{TRACE.upper()}-{SPAN}-01", "tracestate": "a=1"}
        assert (await grid.post("charge-request", "/charge", {"ev_id": "EV3"}, headers=bad)).status == 202
        parents = [parent_of(CIMultiDict(each)) for each in seen.headers]
        first, second, *several, third = parents
        assert first is not None
        assert (first.trace_id, first.sampled, first.state) == (TRACE, True, "a=1,b=2")
        assert first.span_id != SPAN
        assert second is not None
        assert (second.sampled, second.state) == (False, "")
        assert len({each.trace_id for each in several if each}) == 1
        assert len({each.span_id for each in several if each}) == 3
        assert third is not None
        assert third.trace_id not in (TRACE, TRACE.upper())
        assert third.state == ""
        assert len({each.trace_id for each in parents if each}) == 4


async def test_a_failure_is_logged_with_the_trace_and_the_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lines: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonLines("x", "y").format(record)))

    keep = Keep()
    logging.getLogger().addHandler(keep)
    try:
        async with a_grid() as grid:
            seen = Seen()
            seen.status = 500
            await _grid(grid, seen)
            body = {"ev_id": "EV1", "request_id": "r1"}
            answer = await grid.post(
                "charge-request", "/charge", body, headers={"traceparent": PARENT, "Grid-Timeout-Ms": "500"}
            )
            assert answer.status == 503
    finally:
        logging.getLogger().removeHandler(keep)
    told = [line for line in lines if line.get("trace_id") == TRACE]
    assert told
    assert {line["request_id"] for line in told} == {"r1"}


class Begun:
    """A tracer that remembers what it began: routes, and the traces of who asked."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []
        self._passing = PassingTracer()

    def begin(self, method: str, route: str, parent: Parent | None) -> Span:
        self.all.append((route, parent.trace_id if parent else ""))
        return self._passing.begin(method, route, parent)

    def close(self) -> None: ...


async def test_one_who_waited_in_the_queue_is_placed_in_its_own_trace() -> None:
    async with a_grid() as grid:
        settings, begun = SubstationSettings(max_sessions=1, session_s=9999), Begun()
        station = SubstationService(settings, SystemClock(), Random(1))
        await station.start()
        await grid.serve_app("substation1", application(station, Traffic(), LOCAL, begun))
        await grid.balancer("substation1", admission="queue")
        assert (await grid.route("EV0", request_id="r0")).status == 202
        body = {"ev_id": "EV1", "request_id": "r1"}
        answer = await grid.post("balancer", "/route", body, headers={"traceparent": PARENT})
        assert (await answer.json())["response"]["status"] == "queued"
        begun.all.clear()
        async with grid.client.delete(grid.urls["balancer"] + "/requests/r0") as cancelled:
            assert cancelled.status == 200
        await until(lambda: station.admission.find("r1") is not None)
        assert {trace for route, trace in begun.all if route == "/charge"} == {TRACE}
        await station.stop()


async def _open_metrics(grid: Grid, name: str) -> str:
    async with grid.client.get(grid.urls[name] + "/metrics", headers=OPEN_METRICS) as page:
        return await page.text()


async def test_latencies_carry_the_trace_where_the_format_allows() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1")
        await grid.balancer("substation1")
        await grid.serve(ChargeRequestService(ChargeRequestSettings(balancers=(grid.urls["balancer"],)), SystemClock()))
        for number in range(50):
            await grid.post("charge-request", "/charge", {"ev_id": f"EV{number}"}, headers={"traceparent": PARENT})
        for name in ("charge-request", "balancer", "substation1"):
            text = await _open_metrics(grid, name)
            carried = [line for line in text.splitlines() if f'trace_id="{TRACE}"}}' in line]
            assert carried, name
            assert all("_bucket{" in line for line in carried)
            assert "trace_id" not in await grid.get(name, "/metrics")
