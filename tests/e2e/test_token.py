"""A grid that listens beyond loopback: the token on every hop of real processes, and in nobody else's hands."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import Cluster
from tests.e2e.served import JSON, until
from tests.strangers import Stranger, answering

pytestmark = pytest.mark.e2e

SECRET = "s3cret-of-this-grid-0123456789"
BEARER = {"Authorization": f"Bearer {SECRET}"}
EVERYWHERE = "0.0.0.0"


def _port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _ask(port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {**JSON, **(headers or {})})
        answer = connection.getresponse()
        text = answer.read().decode()
        return answer.status, json.loads(text) if text.startswith(("{", "[")) else text


class _External(Stranger):
    """A third party's substation that also tries to lead whoever asks it elsewhere."""

    asked: list[tuple[str, dict[str, str]]]

    def get(self) -> None:
        self.asked.append((self.path, dict(self.headers)))
        self.answer(body=b"substation_current_load 0\n")

    def post(self, _body: bytes) -> None:
        self.asked.append((self.path, dict(self.headers)))
        self.answer()


@contextmanager
def _external() -> Iterator[tuple[int, list[tuple[str, dict[str, str]]]]]:
    asked: list[tuple[str, dict[str, str]]] = []
    handler = type("Handler", (_External,), {"asked": asked})
    with answering(handler) as port:
        yield port, asked


class Guarded:
    """Services that listen everywhere, with the token in a file; `folder` has their logs and journals."""

    def __init__(self, environment: dict[str, str], folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.token_file = folder / "token"
        self.token_file.write_text(f"{SECRET}\n")
        self._environment = {**environment, "GRIDCTL_TOKEN_FILE": str(self.token_file)}
        self._stack = stack
        self.processes: list[subprocess.Popen[bytes]] = []

    def serve(self, role: str, port: int, *flags: str) -> None:
        """Starts one and waits until it is healthy."""
        command = [sys.executable, "-P", "-m", "gridctl", "serve", role, "--host", EVERYWHERE, "--port", str(port)]
        log = self._stack.enter_context((self.folder / f"{role}-{port}.log").open("wb"))
        process = subprocess.Popen([*command, *flags], env=self._environment, stdout=log, stderr=log)
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        self.processes.append(process)
        until(lambda: self.is_healthy(port))

    def is_healthy(self, port: int) -> bool:
        """Whether it says so to who brings the token."""
        try:
            return _ask(port, "GET", "/health", headers=BEARER)[0] == 200
        except OSError:
            return False


@pytest.fixture
def guarded(environment: dict[str, str], tmp_path: Path) -> Iterator[Guarded]:
    with ExitStack() as stack:
        yield Guarded(environment, tmp_path, stack)


def test_every_hop_brings_the_token_and_nobody_else_gets_it(guarded: Guarded) -> None:
    ports = {name: _port() for name in ("s1", "s2", "b1", "b2", "c")}
    folder = guarded.folder
    with _external() as (external, asked):
        for name in ("s1", "s2"):
            guarded.serve("substation", ports[name], "--name", name, "--journal", str(folder / f"{name}.db"))
        substations = ",".join(f"{name}=127.0.0.1:{ports[name]}" for name in ("s1", "s2"))
        peers = ",".join(f"127.0.0.1:{ports[name]}" for name in ("b1", "b2"))
        flags = ("--substations", f"{substations},other=http://127.0.0.1:{external}#substation_current_load")
        both = [(name, [*flags, "--peers", peers, "--url", f"127.0.0.1:{ports[name]}"]) for name in ("b1", "b2")]
        threads = [
            threading.Thread(
                target=guarded.serve,
                args=(
                    "balancer",
                    ports[name],
                    "--name",
                    name,
                    "--journal",
                    str(folder / f"{name}.db"),
                    "--poll-interval-s",
                    "0.5",
                    *more,
                ),
            )
            for name, more in both
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        guarded.serve("charge-request", ports["c"], "--balancers", peers)
        assert _ask(ports["c"], "POST", "/charge", {"ev_id": "EV"})[0] == 401
        answers = [
            _ask(ports["c"], "POST", "/charge", {"ev_id": f"EV{number}", "duration_s": 600}, BEARER)
            for number in range(24)
        ]
        assert [status for status, _ in answers] == [202] * 24
        assert {answer["routed_to"] for _, answer in answers} == {"s1", "s2", "other"}
        # each balancer passed on what the other owns
        for name in ("b1", "b2"):
            _, page = _ask(ports[name], "GET", "/metrics", headers=BEARER)
            assert any('outcome="forwarded"' in line and not line.endswith(" 0.0") for line in page.splitlines())
        # a cancellation goes through all, and the substation tells the balancers by itself
        routed = next(answer for _, answer in answers if answer["routed_to"] != "other")
        assert _ask(ports["c"], "DELETE", f"/requests/{routed['request_id']}", headers=BEARER)[0] == 200
        assert _ask(ports["s1"], "GET", "/sessions", headers=BEARER)[0] == 200
        _nobody_has_it(guarded, asked)
    for process in guarded.processes:
        process.terminate()
    assert [process.wait(20) for process in guarded.processes] == [0] * 5
    logs = "".join(file.read_text() for file in folder.glob("*.log"))
    assert SECRET not in logs
    assert '"status": 401' in logs
    for line in logs.splitlines():
        if line.startswith("{"):
            assert json.loads(line)["level"] in ("info", "warning"), line


def _nobody_has_it(guarded: Guarded, asked: list[tuple[str, dict[str, str]]]) -> None:
    assert any(path == "/charge" for path, _ in asked)
    assert any(path == "/metrics" for path, _ in asked)
    assert SECRET not in json.dumps(asked)
    assert all("authorization" not in {name.lower() for name in headers} for _, headers in asked)
    for process in guarded.processes:
        seen = psutil.Process(process.pid)
        assert SECRET not in " ".join(seen.cmdline())
        assert SECRET not in json.dumps(seen.environ())
    for file in guarded.folder.glob("*.db*"):
        assert SECRET.encode() not in file.read_bytes(), file
    for file in guarded.folder.glob("*.db"):
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as journal:
            assert SECRET not in "".join(journal.iterdump())


def test_the_load_tester_brings_it_to_its_target_and_follows_nobody_with_it(
    guarded: Guarded, environment: dict[str, str]
) -> None:
    port = _port()
    guarded.serve("substation", port, "--max-sessions", "1000")
    command = [sys.executable, "-P", "-m", "gridctl", "loadtest", "--json", "--burst", "20", "--wall"]
    command += ["--target", f"http://127.0.0.1:{port}"]
    for more, accepted in (
        ({"GRIDCTL_TOKEN": SECRET}, 20),
        ({"GRIDCTL_TOKEN_FILE": str(guarded.token_file)}, 20),
        ({}, 0),
    ):
        done = subprocess.run(
            command, env={**environment, **more}, capture_output=True, text=True, timeout=60, check=False
        )
        assert json.loads(done.stdout)["accepted"] == accepted, done.stderr
        assert done.returncode == (0 if accepted else 1)
        assert SECRET not in done.stdout + done.stderr
    assert "401 unauthorized" in done.stderr


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.0.2.1", "10.0.0.1"])
def test_without_a_token_no_other_machine_is_listened_to(environment: dict[str, str], host: str) -> None:
    command = [sys.executable, "-P", "-m", "gridctl", "serve", "substation", "--port", "0"]
    for more in ({}, {"OPEN": "health,metrics", "ALLOWED_HOSTS": "grid.example"}):
        done = subprocess.run(
            command, env={**environment, "HOST": host, **more}, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 2
        assert f"{host} can be reached from other machines" in done.stderr
        assert "GRIDCTL_TOKEN_FILE" in done.stderr


def test_a_token_that_cannot_be_used_is_refused_and_not_told(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "gridctl", "serve", "substation", "--port", "0"]
    for more in ({"GRIDCTL_TOKEN": "geheim"}, {"GRIDCTL_TOKEN": ""}, {"GRIDCTL_TOKEN_FILE": str(tmp_path / "none")}):
        done = subprocess.run(
            command, env={**environment, **more}, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 2
        assert "GRIDCTL_TOKEN" in done.stderr
        assert "geheim" not in done.stdout + done.stderr


def test_a_cluster_here_has_no_token_whatever_its_users_shell_has(cluster: Cluster) -> None:
    grid = cluster(2, env={"GRIDCTL_TOKEN": SECRET, "ALLOWED_HOSTS": "grid.example"})
    assert grid.charge("EV1")[0] == 202
    for process in (psutil.Process(grid.supervisor_pid), *psutil.Process(grid.supervisor_pid).children(recursive=True)):
        assert SECRET not in json.dumps(process.environ())
        assert SECRET not in " ".join(process.cmdline())
    port = int(grid.url.rsplit(":", 1)[1])
    expected = {"grid.example": 200, "localhost:1": 200, "evil.example": 403}
    assert {host: _ask(port, "GET", "/health", headers={"Host": host})[0] for host in expected} == expected
    done = grid.run("loadtest", "--burst", "5", "--json")
    assert json.loads(done.stdout)["accepted"] == 5
    for file in grid.state_dir.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
