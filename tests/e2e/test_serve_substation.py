"""`gridctl serve substation` as a real process: bad input of every kind, signals, pauses, and its launcher's end."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from config.report import HEADER, Report
from tests.e2e.served import JSON, Served, served, until

pytestmark = pytest.mark.e2e


def test_bad_input_of_every_kind_is_answered_and_survived(environment: dict[str, str]) -> None:
    request = b'{"ev_id": "EV1", %s}'
    many = json.dumps([{"ev_id": "EV1"}] * 10_000).encode()
    bad: list[tuple[str, bytes | None, dict[str, str], int, str | None]] = [
        ("POST", None, {}, 400, None),
        ("POST", b"{", JSON, 400, None),
        ("POST", b'{"ev_id": "EV1"', JSON, 400, None),
        ("POST", b'"text"', JSON, 422, ""),
        ("POST", b'{"ev_id": 3}', JSON, 422, "ev_id"),
        ("POST", b'{"ev_id": ""}', JSON, 422, "ev_id"),
        ("POST", b"{}", JSON, 422, "ev_id"),
        ("POST", request % b'"power_kw": "7.4"', JSON, 422, "power_kw"),
        ("POST", request % b'"power_kw": NaN', JSON, 422, "power_kw"),
        ("POST", request % b'"duration_s": 1e400', JSON, 422, "duration_s"),
        ("POST", request % b'"energy_kwh": -1', JSON, 422, "energy_kwh"),
        ("POST", request % b'"powr_kw": 1', JSON, 422, "powr_kw"),
        ("POST", b"x" * 10_000_000, JSON, 413, None),
        ("POST", many, JSON, 413, None),
        ("POST", b'{"ev_id": "EV1"}', {"Content-Type": "text/plain"}, 415, None),
        ("PATCH", b'{"ev_id": "EV1"}', JSON, 405, None),
        ("GET", None, {}, 405, None),
    ]
    with served(environment) as it:
        for method, body, headers, status, field in bad:
            found, answered, problem = _tolerant(it, method, body, headers)
            assert found == status, (body or b"")[:80]
            assert answered["Content-Type"] == "application/problem+json"
            assert Report.decode(answered[HEADER]).sessions == 0
            if field is not None:
                assert [fault["field"] for fault in problem["errors"]] == [field]
            assert it.ask("GET", "/health")[2]["sessions"] == 0
        assert it.charge()[0] == 202
        code, log = it.end()
    assert code == 0
    assert "Traceback" not in log
    assert all(json.loads(line)["level"] == "info" for line in log.splitlines())


def _tolerant(it: Served, method: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, dict[str, str], Any]:
    """Like `ask`, reading the answer even where it came, and the connection closed, before all was sent."""
    if body is None or len(body) < 100_000:
        return it.ask(method, "/charge", body, headers)
    with socket.create_connection(("127.0.0.1", it.port), timeout=30) as sock:
        lines = (
            f"{method} /charge HTTP/1.1",
            "Host: localhost",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )
        head = "\r\n".join((*lines, "", ""))
        sender = threading.Thread(target=_send, args=(sock, head.encode() + body))
        sender.start()
        answer = http.client.HTTPResponse(sock, method=method)
        answer.begin()
        found = answer.status, dict(answer.getheaders()), json.loads(answer.read())
        sock.shutdown(socket.SHUT_RDWR)
        sender.join()
        return found


def _send(sock: socket.socket, data: bytes) -> None:
    try:
        sock.sendall(data)
    except OSError:
        return  # the other end had said enough


def test_garbage_is_survived(environment: dict[str, str]) -> None:
    with served(environment) as it:
        for garbage in (b"\x16\x03\x01\x02garbage\r\n\r\n", b"\x00" * 5000, b"GET / HTTP/9.9\r\n\r\n", b""):
            with socket.create_connection(("127.0.0.1", it.port), timeout=30) as sock:
                sock.sendall(garbage)
                sock.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda sock=sock: sock.recv(4096), b""))  # type: ignore[misc]
            assert not answer or b" 400 " in answer.splitlines()[0]
            assert it.ask("GET", "/health")[0] == 200
        assert it.end()[0] == 0


def test_ctrl_c_is_130(environment: dict[str, str]) -> None:
    with served(environment) as it:
        assert it.end(signal.SIGINT)[0] == 130


def test_the_environment_sets_it_and_a_flag_wins(environment: dict[str, str]) -> None:
    with served({**environment, "MAX_SESSIONS": "3", "CAPACITY_KW": "20"}, "--max-sessions", "4") as it:
        health = it.ask("GET", "/health")[2]
        assert (health["max_sessions"], health["capacity_kw"]) == (4, 20)


def test_the_hard_limit_under_many_at_once(environment: dict[str, str]) -> None:
    with served(environment) as it:
        codes: list[int] = []
        threads = [threading.Thread(target=lambda: codes.append(it.charge()[0])) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(codes) == [202] * 10 + [503] * 30
        assert "substation_current_load 10.0" in it.ask("GET", "/metrics")[2]


def test_a_paused_process_finds_the_right_time(environment: dict[str, str]) -> None:
    with served(environment, "--time-scale", "100", "--max-sessions", "1") as it:
        status, _, first = it.charge(request_id="r1", duration_s=50)
        assert status == 202
        assert first["ends_in_s"] == pytest.approx(50, abs=1)
        it.process.send_signal(signal.SIGSTOP)
        threading.Event().wait(0.6)  # the real time that the session takes: half a second
        it.process.send_signal(signal.SIGCONT)
        assert it.charge("EV2")[0] == 202
        ended = it.ask("GET", "/sessions/r1")[2]
        assert ended["state"] == "ended"
        assert ended["ended_s"] == ended["ends_s"] == pytest.approx(ended["started_s"] + 0.5)


_CHILD = """
import socket, sys
from config.settings import SubstationSettings
from services.run import run
sock, lifeline = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
sys.exit(run("substation", SubstationSettings(), sock, lifeline))
"""


@contextmanager
def _launched(environment: dict[str, str], held: socket.socket) -> Iterator[tuple[Served, socket.socket]]:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-P", "-c", _CHILD, str(held.fileno()), str(theirs.fileno())]
    passed = (held.fileno(), theirs.fileno())
    process = subprocess.Popen(command, env=environment, pass_fds=passed, stderr=subprocess.PIPE, text=True)
    theirs.close()
    try:
        yield Served(process, held.getsockname()[1]), ours
    finally:
        ours.close()
        process.kill()
        process.communicate()


@pytest.fixture
def held() -> Iterator[socket.socket]:
    """A listening socket as the launcher holds it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(128)
        yield sock


def test_orders_and_the_launchers_end(environment: dict[str, str], held: socket.socket) -> None:
    with _launched(environment, held) as (it, lifeline):
        assert it.charge("EV1")[0] == 202
        lifeline.sendall(b'{"do": "drain"}\n')
        until(lambda: it.ask("GET", "/health")[2]["status"] == "draining")
        status, headers, problem = it.charge("EV2")
        assert (status, problem["reason"], headers["Retry-After"]) == (503, "draining", "5")
        lifeline.close()
        assert it.process.wait(timeout=30) == 1


def test_restarts_on_the_held_socket_fail_nobody(environment: dict[str, str], held: socket.socket) -> None:
    over = threading.Event()
    failures: list[str] = []
    answered = [0] * 4
    clients = [threading.Thread(target=_keep_asking, args=(held, over, failures, answered, n)) for n in range(4)]
    for client in clients:
        client.start()
    try:
        for _ in range(2):
            with _launched(environment, held) as (it, _lifeline):
                seen = list(answered)
                until(lambda seen=seen: all(now > then + 20 for now, then in zip(answered, seen, strict=True)))
                assert it.end()[0] == 0
        with _launched(environment, held):
            over.set()
            for client in clients:
                client.join(timeout=60)
    finally:
        over.set()
    assert failures == []


def _keep_asking(
    held: socket.socket, over: threading.Event, failures: list[str], answered: list[int], index: int
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", held.getsockname()[1], timeout=20)
    while not over.is_set():
        try:
            connection.request("POST", "/charge", b'{"ev_id": "EV1"}', JSON)
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (202, 503)
            answered[index] += 1
        except (OSError, http.client.HTTPException) as error:
            failures.append(repr(error))
            connection.close()
    connection.close()
