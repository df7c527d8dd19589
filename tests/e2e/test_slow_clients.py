"""Clients that dawdle, pile up or send too much, at a real process over raw sockets: they go, and others are served."""

from __future__ import annotations

import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psutil
import pytest

from tests.e2e.served import Served, served
from tests.services.grid import BUSY_S

pytestmark = pytest.mark.e2e

TIMEOUT_S = 0.6
PATIENCE = ("--client-timeout-s", str(TIMEOUT_S), "--idle-timeout-s", "1")
BODY = b'{"ev_id": "EV1"}'
HEAD = b"POST /charge HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def station(environment: dict[str, str]) -> Iterator[Served]:
    with served(environment, *PATIENCE) as found:
        yield found


@contextmanager
def _connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=15) as sock:
        yield sock


def _rest(sock: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    try:
        while part := sock.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def _problem(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer[:500]
    return int(head.split()[1]), json.loads(body)["reason"]


def _drip(sock: socket.socket, drop: Callable[[int], bytes], over: threading.Event) -> None:
    for number in range(10_000):
        if over.wait(0.05):
            return
        try:
            sock.sendall(drop(number))
        except OSError:
            return


SLOW: dict[str, tuple[bytes, Callable[[int], bytes] | None]] = {
    "nothing": (b"", None),
    "half a request line": (b"GET /hea", None),
    "headers, one in a while": (b"GET /health HTTP/1.1\r\nHost: localhost\r\n", lambda number: b"X-%d: y\r\n" % number),
    "a header, byte by byte": (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ", lambda _: b"y"),
    "a body that never comes": (HEAD + b"Content-Length: 100\r\n\r\n", None),
    "a body, byte by byte": (HEAD + b"Content-Length: 100000\r\n\r\n", lambda _: b"x"),
    "chunks, one in a while": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", lambda _: b"1\r\nx\r\n"),
    "a body to who reads none": (
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
        lambda _: b"x",
    ),
}


def _dawdle(port: int, first: bytes, drop: Callable[[int], bytes] | None) -> tuple[bytes, float]:
    """What it was answered, and after how many seconds."""
    over = threading.Event()
    with _connected(port) as sock, ThreadPoolExecutor(1) as beside:
        began_s = time.monotonic()
        sock.sendall(first)
        if drop:
            beside.submit(_drip, sock, drop, over)
        answer = _rest(sock)
        over.set()
        return answer, time.monotonic() - began_s


def test_a_request_must_arrive_in_time(station: Served) -> None:
    with ThreadPoolExecutor(len(SLOW)) as pool:
        ends = {kind: pool.submit(_dawdle, station.port, *how) for kind, how in SLOW.items()}
        for number in range(5):
            assert station.charge(f"EV{number}")[0] == 202
    for kind, end in ends.items():
        answer, took_s = end.result()
        if kind == "a body to who reads none":
            assert answer.startswith(b"HTTP/1.1 200")
            assert took_s < 2 + BUSY_S
        else:
            assert _problem(answer) == (408, "too-slow"), kind
            assert TIMEOUT_S - 0.05 <= took_s < 2 * TIMEOUT_S + BUSY_S, kind


def test_the_second_request_of_a_connection_must_arrive_in_time_too_and_an_idle_one_is_closed(station: Served) -> None:
    with _connected(station.port) as sock, _connected(station.port) as idle:
        for each in (sock, idle):
            each.sendall(HEALTH)
            assert each.recv(1 << 16).startswith(b"HTTP/1.1 200")
        idle_s = time.monotonic()
        sock.sendall(b"GET /hea")
        assert _problem(_rest(sock))[0] == 408
        assert _rest(idle) == b""
        assert 0.9 <= time.monotonic() - idle_s < 2 + BUSY_S


def test_in_pieces_but_in_time_is_well(environment: dict[str, str]) -> None:
    whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    with ExitStack() as stack:
        station = stack.enter_context(served(environment, "--client-timeout-s", str(TIMEOUT_S)))
        socks = []
        for at in (1, 20, len(whole) - len(BODY), len(whole) - 1):
            sock = stack.enter_context(_connected(station.port))
            socks.append(sock)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(whole[:at])
            time.sleep(0.05)  # sleep: the pieces shall not arrive as one
            sock.sendall(whole[at:] + HEALTH[:10])
            time.sleep(0.05)  # sleep: as above
            sock.sendall(HEALTH[10:])
            answers = b""
            while answers.count(b"HTTP/1.1 ") < 2:
                answers += sock.recv(1 << 16)
            assert answers.count(b"HTTP/1.1 20") == 2, answers
            sock.sendall(HEALTH)
            assert sock.recv(1 << 16).startswith(b"HTTP/1.1 200")
        time.sleep(TIMEOUT_S + 0.2)  # sleep: whoever was still believed to be in a request would be sent away now
        for sock in socks:
            sock.sendall(HEALTH)
            assert sock.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_a_head_may_not_grow_for_ever(station: Served) -> None:
    field = b"X: " + b"y" * 8000 + b"\r\n"
    with _connected(station.port) as sock:
        answer = b""
        try:
            sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
            for _ in range(90):
                sock.sendall(field)
        except OSError:
            pass
        answer = _rest(sock)
    assert not answer or _problem(answer)[0] in (400, 431)
    assert station.ask("GET", "/health")[0] == 200


def test_a_body_may_neither_grow_for_ever_nor_unfold(station: Served) -> None:
    packed = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packed.compress(b" " * (1 << 20)) for _ in range(256)) + packed.flush()
    before = psutil.Process(station.process.pid).memory_info().rss
    for head, body in (
        (b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb), bomb),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n%s\r\n" % (b"x" * (1 << 16)) * 17),
    ):
        with _connected(station.port) as sock:
            sock.sendall(HEAD + head + body)
            assert _problem(_rest(sock)) == (413, "too-large")
    assert psutil.Process(station.process.pid).memory_info().rss - before < 64 << 20


def test_who_does_not_take_the_answer_is_cut(environment: dict[str, str]) -> None:
    with served(environment, *PATIENCE, "--max-sessions", "5000", "--session-s", "9999") as station:
        for part in range(5):
            body = json.dumps([{"ev_id": f"EV{part}-{number}" + "x" * 90} for number in range(1000)]).encode()
            assert station.ask("POST", "/charge", body, {"Content-Type": "application/json"})[0] == 200
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with sock:
            sock.settimeout(15)
            sock.connect(("127.0.0.1", station.port))
            sock.sendall(b"GET /sessions HTTP/1.1\r\nHost: localhost\r\n\r\n" * 8)
            assert sock.recv(100)
            time.sleep(3 * TIMEOUT_S + 0.5)  # sleep: it takes nothing for longer than it may
            taken = len(_rest(sock))
        _, log = station.end()
    slow = [json.loads(line) for line in log.splitlines() if "clients were too slow" in line]
    assert [line["taking"] for line in slow] == [1], log
    assert taken < 8_000_000


def test_dawdlers_make_room_and_health_is_told_even_when_all_places_are_taken(environment: dict[str, str]) -> None:
    patient = ("--client-timeout-s", "60", "--max-connections", "8")
    with served(environment, *patient) as station, ExitStack() as stack:
        dawdlers = [stack.enter_context(_connected(station.port)) for _ in range(8)]
        for each in dawdlers:
            each.sendall(b"GET /hea")
        # they have a minute yet, and whoever wants something gets a place at once
        assert station.charge("EV1")[0] == 202
        assert _problem(_rest(dawdlers[0]))[0] == 503
        # now in the place of each dawdler one that asked, and keeps its connection
        keepers = [stack.enter_context(_connected(station.port)) for _ in range(8)]
        for each in keepers:
            each.sendall(HEALTH)
            assert each.recv(1 << 16).startswith(b"HTTP/1.1 200")
        status, headers, problem = station.charge("EV2")
        assert (status, problem["reason"], headers["Connection"]) == (503, "too-many-connections", "close")
        assert "Retry-After" in headers
        assert station.ask("GET", "/health")[0] == 200
        # not even many dawdlers at once take the last places from health
        crowd = [stack.enter_context(_connected(station.port)) for _ in range(100)]
        assert station.ask("GET", "/health")[0] == 200
        for each in (*crowd, *keepers):
            each.close()
        end_s = time.monotonic() + 10
        while station.charge("EV3")[0] != 202:
            assert time.monotonic() < end_s


def test_a_flood_in_one_pipeline_is_answered_in_order_and_bounded(station: Served) -> None:
    with _connected(station.port) as sock:
        number = 2000
        sending = threading.Thread(target=sock.sendall, args=(HEALTH * number,))
        sending.start()
        answers = b""
        while answers.count(b"HTTP/1.1 200") < number:
            part = sock.recv(1 << 16)
            assert part, answers[-300:]
            answers += part
        sending.join()
    assert station.ask("GET", "/health")[0] == 200


def test_broken_http_is_logged_without_what_it_brought(station: Served) -> None:
    for field in (
        b"Authorization: Bearer s3cret-s3cret-s3cret\x00",
        b"Authorization Bearer s3cret-s3cret",
        b"X: " + b"s3cret" * 2000,
    ):
        with _connected(station.port) as sock:
            sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + field + b"\r\n\r\n")
            said = _rest(sock)
            assert _problem(said)[0] == 400
            assert b"\r\nserver:" not in said.lower(), "versions are nobody's business"
    _, log = station.end()
    assert "bad HTTP" in log
    assert "s3cret" not in log
