"""The fast lane answers what aiohttp would have answered, but for the date, whatever comes in whatever pieces."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from config.access import LOCAL, Access, Patience, Token
from services.connection import Connection
from services.courier import MOST_LATER
from services.express import Express
from services.heads import MOST_HEADS
from services.http import Wellbeing, application
from services.lane import Lane
from services.service import Health
from services.traffic import Traffic
from services.visits import Visits
from tests.services.echo import Echo
from tests.services.grid import until

TOKEN = "T" * 20
GUARDED = Access(token=Token(TOKEN))


class Wire(asyncio.Transport):
    """The other end of a connection: what it was told, whether it was closed, whether it is read from."""

    def __init__(self) -> None:
        super().__init__()
        self.said = b""
        self.closed = False
        self.reading = True

    def write(self, data: Any) -> None:
        if not self.closed:
            self.said += bytes(data)

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return 0


class World:
    """One service, and connections to it, with a fast lane or without."""

    def __init__(self, echo: Echo, server: web.Server, lane: Lane, traffic: Traffic, visits: Visits) -> None:
        self.echo, self.server, self.lane, self.traffic, self.visits = echo, server, lane, traffic, visits
        self.passed = 0

    def connect(self, fast: bool = True) -> tuple[Connection, Wire]:
        loop, world = asyncio.get_running_loop(), self

        class Seen(Express):
            def usual(self, data: bytes) -> None:
                world.passed += bool(data)  # without any, aiohttp goes on with what it has
                super().usual(data)

        each = Seen(self.server, self.lane, visits=self.visits, loop=loop) if fast else self._plain(loop)
        wire = Wire()
        each.connection_made(wire)
        return each, wire

    def _plain(self, loop: asyncio.AbstractEventLoop) -> Connection:
        return Connection(self.server, visits=self.visits, loop=loop)


@asynccontextmanager
async def a_world(access: Access = LOCAL, patience: Patience | None = None) -> AsyncIterator[World]:
    echo, traffic = Echo(), Traffic()
    runner = web.AppRunner(application(echo, traffic, access), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    server = runner.server
    assert server is not None
    lane = Lane(echo, traffic, access, health=Wellbeing(echo, None, traffic))
    visits = Visits(patience or Patience())
    lane.plain = server.request_handler
    try:
        yield World(echo, server, lane, traffic, visits)
    finally:
        await runner.cleanup()
        visits.close()


async def _settle() -> None:
    """All that can go on has gone on."""
    for _ in range(30):
        await asyncio.sleep(0)  # sleep: lets other tasks run


def _request(body: bytes = b'{"ev_id": "a"}', path: str = "/echo", *lines: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *lines]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def _look(*lines: str) -> bytes:
    return "\r\n".join(["GET /look HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def _answers(said: bytes) -> list[tuple[bytes, list[bytes], bytes]]:
    """Each answer in `said`: status line, headers in order of their names but for the date, and body."""
    found = []
    while said:
        head, _, said = said.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        lengths = [int(line[15:]) for line in lines if line.lower().startswith(b"content-length:")]
        length = lengths[0] if lengths else 0
        kept = sorted(line for line in lines if not line.startswith(b"Date:"))
        found.append((first, kept, said[:length]))
        said = said[length:]
    return found


_LINES = st.sampled_from(
    [
        *("Host: localhost", "Host: 127.0.0.1:80", "Host: evil.example", "Host:", "host: LOCALHOST"),
        *(
            "Content-Type: application/json",
            "content-type: application/json; charset=utf-8",
            "Content-Type: text/plain",
        ),
        *("Content-Type: application/vnd.x+json", "Connection: close", "Connection: keep-alive", "Connection: upgrade"),
        *("Expect: 100-continue", "Expect: tea", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip"),
        *("Content-Encoding: gzip", "Content-Encoding: identity", "Upgrade: websocket", "Origin: http://evil.example"),
        *("Content-Length: 0", "Content-Length: 5", "Content-Length: +5", "Content-Length: 99999999"),
        *("Idempotency-Key: k1", "Idempotency-Key: k2", "idempotency-key: k1", "X-Request-ID: r1", "X-Request-ID: r2"),
        *("Idempotency-Key: not a name", "X: y", " folded: yes", "no colon", "X: \x00"),
        *(f"traceparent: 00-{'a' * 32}-{'b' * 16}-01", f"Authorization: Bearer {TOKEN}", "Authorization: Bearer x"),
    ]
)
_BODIES = st.sampled_from(
    [
        *(b'{"ev_id": "a"}', b'{"ev_id": 1}', b'[{"ev_id": "a"}, {"ev_id": ""}]', b"", b" ", b"{", b"[]", b"null"),
        *(b"\r\n\r\n", b'{"ev_id": "\r\n\r\n"}', b"5\r\nabcde\r\n0\r\n\r\n", b"POST /echo HTTP/1.1\r\n\r\n", b"\xff"),
    ]
)


@st.composite
def _odd_requests(draw: st.DrawFn) -> bytes:
    if draw(st.booleans()):
        return _request(draw(_BODIES), draw(st.sampled_from(["/echo", "/prompt"])))
    if draw(st.integers(0, 3)) == 0:
        return _look(*draw(st.lists(_LINES, max_size=2)))
    method = draw(st.sampled_from(["POST", "POST", "POST", "GET", "HEAD", "PUT", "post", "P OST"]))
    path = draw(
        st.sampled_from(
            [
                "/echo",
                "/echo",
                "/prompt",
                "/prompt",
                "/look",
                "/echo?x=1",
                "/%65cho",
                "//echo",
                "/nothing",
                "/gone",
                "*",
            ]
        )
    )
    version = draw(st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1"]))
    lines = draw(st.lists(_LINES, max_size=4))
    if draw(st.booleans()):
        lines = ["Host: localhost", "Content-Type: application/json", *lines]
    body = draw(_BODIES)
    if draw(st.booleans()):
        lines.append(f"Content-Length: {len(body)}")
    end = draw(st.sampled_from(["\r\n", "\r\n", "\r\n", "\n"]))
    return end.join([f"{method} {path} {version}", *lines, "", ""]).encode() + body


@st.composite
def _pieces(draw: st.DrawFn) -> Sequence[bytes]:
    requests = draw(st.lists(_odd_requests(), min_size=1, max_size=4))
    if draw(st.booleans()):
        return requests
    whole = b"".join(requests)
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    return [part for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True) if (part := whole[start:stop])]


async def _heard(world: World, fast: bool, pieces: Sequence[bytes]) -> tuple[Any, ...]:
    connection, wire = world.connect(fast=fast)
    for piece in pieces:
        if not wire.closed:
            connection.data_received(piece)
        await _settle()
    told = (_answers(wire.said), wire.closed, connection in world.visits._unfinished)
    connection.connection_lost(None)
    await _settle()
    return told


def _is_more(fast: list[Any], usual: list[Any]) -> bool:
    """Whether the fast lane answered good requests which aiohttp forgets where no HTTP comes in the same piece."""
    return b"bad-http" in fast[-1][2] and fast[-1] == usual[-1] and fast[: len(usual) - 1] == usual[:-1]


@pytest.mark.parametrize("access", [LOCAL, GUARDED])
@given(pieces=_pieces())
@settings(max_examples=100, deadline=None)
def test_whatever_comes_is_answered_as_without_it(access: Access, pieces: Sequence[bytes]) -> None:
    async def both() -> None:
        async with a_world(access) as world:
            for _ in range(2):  # the second time heads are known
                fast, *after = await _heard(world, True, pieces)
                usual, *usually_after = await _heard(world, False, pieces)
                assert after == usually_after
                assert fast == usual or _is_more(fast, usual)

    asyncio.run(both())


HEALTHY = b"GET /bug HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        # what looks like a request is a part of another one
        [HEALTHY + b"GET /bug HTTP/1.1\r\nHost: localhost\r\nX: ", _request(), b"\r\n\r\n"],
        [_request(b"x" * 200, "/bug")[:-190], _request(), b"x" * 100],
        [_request(b"x" * 200)[:-190], _request(), b"x" * 100],
        [b"POST /gone HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", _request()],
        [b"GET /bug HTTP/1.1\r\nHost: localhost\r\nX: ", _request()],
        [_request() + b"GET", _request()],
        # what follows is nobody's any more
        [_request(b'{"ev_id": "a"}', "/echo", "Connection: close"), _request()],
        [_request(b'{"ev_id": "a"}', "/echo", "Connection: close") + _request()],
        [_request().replace(b"/1.1", b"/1.0", 1), _request()],
        # the same head brings another body
        [_request(b'{"ev_id": "a"}') + _request(b'{"ev_id": "b"}'), _request(b'{"ev_id": ""} ')],
        # who comes with another one is not called after it
        [_request(b'{"ev_id": "a", "request_id": "first"}') + _request(path="/hotbug")],
        # a look brings no body, or goes the usual way
        [_look() + _look(), _request() + _look(), _look() + _request()],
        [
            _look("Content-Length: 5") + b"abcde",
            _look("Content-Length: 0"),
            _look("Transfer-Encoding: chunked") + b"0\r\n\r\n",
        ],
        [_look("Content-Length: 60")[:-2], b"\r\n" + _look(), b"x" * 60],
        # who refuses to hear somebody says so, also where headers would have been an answer
        [_look("X-Deaf: 1"), _look(), _request(b'{"ev_id": "a"}', "/echo", "X-Deaf: 1"), _look()],
    ],
)
async def test_nobody_is_mistaken_for_another(pieces: Sequence[bytes]) -> None:
    async with a_world() as world:
        for instant in (True, False):
            world.echo.is_instant = instant
            assert await _heard(world, True, pieces) == await _heard(world, False, pieces)


async def test_plain_requests_go_the_fast_way_also_after_others_and_in_two_pieces() -> None:
    async with a_world() as world:
        connection, wire = world.connect()
        connection.data_received(_request())
        await _settle()
        for piece in _request().partition(b"{"):
            connection.data_received(piece)
        await _settle()
        assert (world.passed, len(_answers(wire.said)), wire.said.count(b"\r\nDate: ")) == (0, 2, 2)
        for other in (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", _request(path="/nothing")):
            connection.data_received(other)
            await _settle()
        assert world.passed == 2
        connection.data_received(_request())
        await _settle()
        assert (world.passed, len(_answers(wire.said))) == (2, 5)
        connection.data_received(_look())
        await _settle()
        assert (world.passed, _answers(wire.said)[-1]) == (2, (b"HTTP/1.1 204 No Content", [b"X-Echo: 1"], b""))


@pytest.mark.parametrize(
    "told", [Health("ok", {"sessions": 3}), Health("starting"), Health("degraded", {"detail": "x"})]
)
async def test_health_is_told_the_fast_way_as_it_is_the_usual_way(told: Health) -> None:
    async with a_world() as world:
        world.echo.told = told
        told_by = []
        for fast in (True, False):
            connection, wire = world.connect(fast)
            connection.data_received(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert bool(wire.said) is fast  # without a task: a thousand are asked while they start
            await _settle()
            ((first, headers, body),) = _answers(wire.said)
            kept = [header for header in headers if not header.startswith(b"Content-Length")]  # of the time it is up
            told_by.append((first, kept, {**json.loads(body), "uptime_s": 0}))
        assert (world.passed, told_by[0]) == (0, told_by[1])
        connection, wire = world.connect()
        connection.data_received(b"GET /health?live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await _settle()
        assert (world.passed, wire.said[:13]) == (1, b"HTTP/1.1 200 ")


async def test_a_pipeline_is_answered_one_after_the_other_and_not_read_without_end() -> None:
    async with a_world() as world:
        connection, wire = world.connect()
        connection.data_received(_request(path="/slow") + _request(b'{"ev_id": "b"}'))
        await _settle()
        assert world.traffic.in_flight == 1
        many = _request(b'{"ev_id": "c"}') * (MOST_LATER // 100)
        connection.data_received(many)
        assert (wire.said, wire.reading) == (b"", False)
        world.echo.may_answer.set()
        while len(found := _answers(wire.said)) < 2 + MOST_LATER // 100:
            await _settle()
        assert [json.loads(body) for _, _, body in found][:3] == ["at last", ["b"], ["c"]]
        assert wire.reading


async def test_what_is_in_flight_at_a_stop_is_answered_and_its_connection_closed() -> None:
    async with a_world() as world:
        connection, wire = world.connect()
        connection.data_received(_request(path="/slow"))
        await _settle()
        world.traffic.stop()
        world.echo.may_answer.set()
        await _settle()
        [(first, lines, _)] = _answers(wire.said)
        assert (first, b"Connection: close" in lines, wire.closed) == (b"HTTP/1.1 200 OK", True, True)


async def test_a_stop_waits_for_the_rest_of_a_request_that_was_begun() -> None:
    async with a_world() as world:
        (begun, wire), (left, _), (odd, _) = (world.connect() for _ in range(3))
        for connection in (begun, left, odd):
            connection.data_received(_request()[:-3])
        assert world.traffic.in_flight == 3
        left.connection_lost(None)
        assert world.traffic.in_flight == 2
        world.traffic.stop()
        begun.data_received(_request()[-3:])
        odd.data_received(_request()[-3:] + _request())
        await _settle()
        [(first, lines, _)] = _answers(wire.said)
        assert (first, b"Connection: close" in lines, wire.closed) == (b"HTTP/1.1 200 OK", True, True)
        assert world.traffic.in_flight == 0


async def test_who_leaves_leaves_no_work_half_done() -> None:
    async with a_world() as world:
        connection, wire = world.connect()
        connection.data_received(_request(path="/slow") + b"more")
        await _settle()
        connection.connection_lost(None)
        assert world.traffic.in_flight == 1
        world.echo.may_answer.set()
        await _settle()
        assert (world.traffic.in_flight, wire.said) == (0, b"")


async def test_a_shutdown_waits_for_what_is_in_flight_and_takes_nothing_new() -> None:
    async with a_world() as world:
        connection, wire = world.connect()
        connection.data_received(_request(path="/slow"))
        await _settle()
        world.server.pre_shutdown()
        ending = asyncio.ensure_future(connection.shutdown(10))
        await _settle()
        connection.data_received(_request())
        world.echo.may_answer.set()
        await ending
        assert (len(_answers(wire.said)), wire.closed) == (1, True)


async def test_one_who_is_being_answered_is_not_sent_away_and_one_who_dawdles_is() -> None:
    async with a_world() as world:
        connection, wire = world.connect()
        connection.data_received(_request(path="/slow"))
        await _settle()
        assert not connection.send_away(408)
        world.echo.may_answer.set()
        await _settle()
        connection.data_received(_request()[:-1])
        assert connection in world.visits._unfinished
        assert connection.send_away(408)
        assert [first for first, _, _ in _answers(wire.said)] == [b"HTTP/1.1 200 OK", b"HTTP/1.1 408 Request Timeout"]
        assert wire.closed


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    async with a_world(patience=Patience(idle_timeout_s=0.05)) as world:
        connection, wire = world.connect()
        connection.data_received(_request(path="/slow"))
        await asyncio.sleep(0.2)  # sleep: longer than it may be idle
        assert not wire.closed
        world.echo.may_answer.set()
        await until(lambda: wire.closed)
        assert len(_answers(wire.said)) == 1


async def test_a_bug_is_answered_and_the_next_request_too() -> None:
    async with a_world() as world:
        connection, wire = world.connect()
        for path in ("/hotbug", "/hotgone", "/echo"):
            connection.data_received(_request(path=path))
            await _settle()
        assert [first.split()[1] for first, _, _ in _answers(wire.said)] == [b"500", b"410", b"200"]
        assert world.passed == 0


async def test_who_sends_another_head_each_time_costs_no_more_memory() -> None:
    async with a_world() as world:
        connection, wire = world.connect()
        for number in range(MOST_HEADS + 10):
            connection.data_received(_request(b'{"ev_id": "a"}', "/echo", f"X-Number: {number}"))
            await _settle()
        known = len(world.lane.heads._known)
        assert 0 < known <= MOST_HEADS
        for number in range(10):
            connection.data_received(_request(b'{"ev_id": "a"}', "/echo", f"Idempotency-Key: {number}"))
            await _settle()
        assert len(_answers(wire.said)) == MOST_HEADS + 20
        assert (len(world.lane.heads._known), world.passed) == (known, 0)


def _prompt(ev_id: str = "held") -> bytes:
    return _request(b'{"ev_id": "%b"}' % ev_id.encode(), "/prompt")


async def test_what_is_answered_without_a_task_is_answered_in_its_turn() -> None:
    async with a_world() as world:
        connection, wire = world.connect()
        connection.data_received(_prompt() + _prompt("a") + _prompt("unusual") + _prompt("b")[:-3])
        await _settle()
        assert (wire.said, world.traffic.in_flight, len(world.echo.begun)) == (b"", 1, 1)
        world.echo.begun.pop()()
        assert len(_answers(wire.said)) == 1, "others are told theirs next: what waits behind it is for another turn"
        connection.data_received(_prompt("b")[-3:] + _request())
        await _settle()
        bodies = [json.loads(body) for _, _, body in _answers(wire.said)]
        assert bodies == [*({"ev_id": each} for each in ("held", "a", "unusual", "b")), ["a"]]
        assert (world.traffic.in_flight, world.passed) == (0, 0)


async def test_no_more_is_read_while_too_much_waits_behind_what_is_answered_without_a_task() -> None:
    async with a_world() as world:
        connection, wire = world.connect()
        connection.data_received(_prompt())
        connection.data_received(_prompt("a") * (MOST_LATER // 100))
        assert not wire.reading
        world.echo.begun.pop()()
        while len(_answers(wire.said)) < 1 + MOST_LATER // 100:
            await _settle()
        assert wire.reading


async def test_who_leaves_or_is_shut_out_leaves_nothing_in_flight() -> None:
    async with a_world() as world:
        (left, gone), (asked, wire), (late, silent) = (world.connect() for _ in range(3))
        for connection in (left, asked, late):
            connection.data_received(_prompt() + _prompt("a"))
        assert (world.traffic.in_flight, asked.send_away(408)) == (3, False)
        left.connection_lost(None)
        world.echo.begun[0]()
        await _settle()
        assert (gone.said, world.traffic.in_flight) == (b"", 2)
        world.server.pre_shutdown()
        ending = [asyncio.ensure_future(asked.shutdown(10)), asyncio.ensure_future(late.shutdown(0.01))]
        await _settle()
        world.echo.begun[1]()
        await asyncio.gather(*ending)
        assert (len(_answers(wire.said)), wire.closed) == (1, True)
        assert (silent.said, silent.closed, world.echo.dropped, world.traffic.in_flight) == (b"", True, ["held"], 0)
        world.echo.begun[2]()
        assert (silent.said, world.traffic.in_flight) == (b"", 0)


async def test_a_stop_waits_for_what_is_answered_without_a_task_and_closes() -> None:
    async with a_world() as world:
        connection, wire = world.connect()
        connection.data_received(_prompt() + _prompt("a"))
        world.traffic.stop()
        assert world.traffic.in_flight == 1
        world.echo.begun.pop()()
        await _settle()
        [(first, lines, _)] = _answers(wire.said)
        assert (first, b"Connection: close" in lines, wire.closed) == (b"HTTP/1.1 202 Accepted", True, True)
        assert world.traffic.in_flight == 0


async def test_a_connection_is_not_idle_while_its_answer_is_waited_for() -> None:
    async with a_world(patience=Patience(idle_timeout_s=0.05)) as world:
        connection, wire = world.connect()
        connection.data_received(_prompt())
        await asyncio.sleep(0.2)  # sleep: longer than it may be idle
        assert not wire.closed
        world.echo.begun.pop()()
        await until(lambda: wire.closed)
        assert len(_answers(wire.said)) == 1
