"""`gridctl up` in the foreground: the live table, Ctrl-C once and twice, a terminal that goes away, pipes, and no colour."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from gridctl.clusters import running
from gridctl.state import ClusterPaths, state_root
from tests.e2e.conftest import Cluster
from tests.gridctl.top.screen import Run

UP = ["-P", "-m", "gridctl", "up"]
WITHIN_S = 60.0
ANSI = re.compile(r"\x1b")


def paths(name: str = "grid") -> ClusterPaths:
    return ClusterPaths(state_root(), name)


def gridctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "gridctl", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)


def processes() -> list[dict[str, Any]]:
    return list(json.loads(gridctl("ps", "--json").stdout))


def await_gone(pids: list[int], cluster: ClusterPaths) -> None:
    """Until the grid went down: its processes, its supervisor, and what makes it look alive."""
    found = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(found, timeout=WITHIN_S)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    end = time.monotonic() + WITHIN_S
    while running(cluster):
        assert time.monotonic() < end
    assert not cluster.control_socket.exists()
    assert not cluster.record.exists()


@contextmanager
def foreground(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Run]:
    with Run([*UP, *arguments], (80, 24), env) as run:
        yield run


def is_restored(run: Run) -> bool:
    """Whether the terminal is as it was: its own screen, a cursor, its settings."""
    return not run.screen.alternate and run.screen.cursor_shown and termios.tcgetattr(run.slave) == run.settings


@contextmanager
def half_sent(url: str) -> Iterator[socket.socket]:
    """A request whose body never ends: its service waits for it when it is told to stop."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as client:
        client.sendall(
            b"POST /charge HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        yield client


def test_the_table_is_shown_and_ctrl_c_stops_the_grid() -> None:
    with foreground() as run:
        run.shows("substation1", "substation2", "substation3", "● READY", "Ctrl-C stops the grid")
        assert run.screen.alternate
        pids = [row["pid"] for row in processes()]
        run.press("\x03")
        assert run.ends() == 130
        assert "stopping grid; Ctrl-C again kills it" in run.screen.below
        assert "substation3 STOPPED" in run.screen.below
        assert is_restored(run)
        await_gone(pids, paths())


def test_while_it_stops_it_says_what_it_waits_for_and_a_second_ctrl_c_kills() -> None:
    with foreground() as run:
        run.shows("Ctrl-C stops the grid")
        rows = processes()
        with half_sent(rows[0]["url"]):
            run.press("\x03")
            run.until(lambda: "waiting for charge-request (stopping, killed in" in run.screen.below)
            run.press("\x03")
            assert run.ends() == 130
        assert "killing grid" in run.screen.below
        assert is_restored(run)
        await_gone([row["pid"] for row in rows], paths())


def test_a_supervisor_that_hangs_is_killed_by_the_second_ctrl_c() -> None:
    with foreground() as run:
        run.shows("Ctrl-C stops the grid")
        pids = [row["pid"] for row in processes()]
        supervisor = psutil.Process(json.loads(gridctl("ls", "--json").stdout)[0]["supervisor_pid"])
        supervisor.suspend()
        run.press("\x03")
        run.until(lambda: "stopping grid" in run.screen.below)
        run.press("\x03")
        assert run.ends() == 130
        psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=WITHIN_S)
        assert gridctl("ps").returncode == 3
    assert gridctl("up", "-d").returncode == 0
    assert gridctl("down").returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_stops_it_gracefully(number: int, code: int) -> None:
    with foreground() as run:
        run.shows("Ctrl-C stops the grid")
        pids = [row["pid"] for row in processes()]
        run.process.send_signal(number)
        assert run.ends() == code
        await_gone(pids, paths())
        assert is_restored(run)


def test_kill_9_of_the_command_takes_the_grid_down() -> None:
    with foreground() as run:
        run.shows("Ctrl-C stops the grid")
        pids = [row["pid"] for row in processes()]
        run.process.kill()
        run.process.wait()
        await_gone(pids, paths())


def test_a_terminal_that_is_closed_takes_the_grid_down() -> None:
    with foreground() as run:
        run.shows("Ctrl-C stops the grid")
        pids = [row["pid"] for row in processes()]
        for descriptor in (run.master, run.slave):  # the numbers stay taken, for `Run` to close
            sink = os.open(os.devnull, os.O_RDWR)
            os.dup2(sink, descriptor)
            os.close(sink)
        assert run.process.wait(WITHIN_S) == 129
        await_gone(pids, paths())


@pytest.fixture
def never_ready(tmp_path: Path) -> Path:
    """A topology that never is all READY, so that a start is never over before somebody ends it."""
    file = tmp_path / "gridctl.yaml"
    file.write_text("name: grid\nsubstations:\n- {name: nobody, url: 'http://127.0.0.1:1'}\n- {name: substation1}\n")
    return file


def test_ctrl_c_while_it_starts_leaves_nothing(never_ready: Path) -> None:
    def press_at_once() -> None:
        with foreground("--file", str(never_ready), "--substations", "20") as run:
            run.until(lambda: "STARTING" in run.screen.below)
            run.press("\x03")
            assert run.ends() == 130
            assert "is up" not in run.screen.below

    press_at_once()
    await_gone([], paths())
    assert gridctl("ls", "--json").stdout.strip() == "[]"


def test_a_signal_before_there_is_anything_leaves_nothing(never_ready: Path) -> None:
    arguments = [sys.executable, *UP, "-d", "--file", str(never_ready)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        end = time.monotonic() + WITHIN_S
        while not paths().lock.exists() and time.monotonic() < end:
            continue
        command.terminate()
        command.communicate(timeout=WITHIN_S)
    assert command.returncode == 143
    await_gone([], paths())


def test_kill_9_of_a_detached_start_leaves_nothing(never_ready: Path) -> None:
    arguments = [sys.executable, *UP, "-d", "--file", str(never_ready)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        end = time.monotonic() + WITHIN_S
        while not paths().record.exists() and time.monotonic() < end:
            continue
        command.kill()
    await_gone([], paths())


def test_a_detached_grid_is_taken_over_and_stopped_by_ctrl_c(cluster: Cluster) -> None:
    grid = cluster(2)
    with foreground(
        "--file", str(grid.state_dir.parent / "gridctl.yaml"), "--substations", "2", env=grid.environment
    ) as run:
        run.shows("substation2", "Ctrl-C stops the grid")
        run.press("\x03")
        assert run.ends() == 130
    assert grid.run("ps").returncode == 3


def test_a_grid_that_is_stopped_elsewhere_ends_it_well() -> None:
    with foreground() as run:
        run.shows("Ctrl-C stops the grid")
        assert gridctl("down").returncode == 0
        assert run.ends() == 0
        assert "grid stopped" in run.screen.below
        assert is_restored(run)


@contextmanager
def piped(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, *UP, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_in_a_pipe_it_prints_plain_lines_of_what_happens(number: int, code: int) -> None:
    with piped() as up:
        assert up.stdout is not None
        while not up.stdout.readline().startswith("Next: "):
            continue
        pids = [row["pid"] for row in processes()]
        assert gridctl("kill", "substation2").returncode == 0
        said = up.stdout.readline()
        assert "substation2 READY → BACKOFF (killed by SIGKILL" in said
        up.send_signal(number)
        out, err = up.communicate(timeout=WITHIN_S)
        assert up.returncode == code
        assert "substation1 STOPPED" in err
        assert not ANSI.search(said + out + err)
        await_gone(pids, paths())


@pytest.mark.parametrize("last", ["grid is up: 5 processes", "Next: gridctl top"])
def test_a_reader_that_has_enough_ends_the_grid_with_the_command(last: str) -> None:
    with piped() as up:
        assert up.stdout is not None
        while not up.stdout.readline().startswith(last):
            continue
        up.stdout.close()
        assert up.wait(WITHIN_S) == 0
    await_gone([], paths())


def test_a_reader_that_has_enough_of_a_detached_start_leaves_the_grid_running() -> None:
    with piped("-d") as up:
        assert up.stdout is not None
        assert up.stdout.readline().startswith("grid is up: 5 processes")
        up.stdout.close()
        assert up.wait(WITHIN_S) == 0
    assert {row["state"] for row in processes()} == {"READY"}
    assert gridctl("down").returncode == 0


def test_no_color_on_a_terminal_is_plain_lines(environment: dict[str, str]) -> None:
    with foreground(env={**environment, "NO_COLOR": "1"}) as run:
        run.until(lambda: "Next: gridctl top" in run.screen.below)
        assert gridctl("kill", "balancer").returncode == 0
        run.until(lambda: "balancer READY → BACKOFF" in run.screen.below)
        run.press("\x03")
        assert run.ends() == 130
        assert not run.screen.alternate


def test_up_waits_for_a_grid_that_is_still_stopping() -> None:
    assert gridctl("up", "-d").returncode == 0
    rows = processes()
    with (
        half_sent(rows[0]["url"]) as client,
        subprocess.Popen([sys.executable, "-P", "-m", "gridctl", "down"], stderr=subprocess.PIPE, text=True) as down,
    ):
        assert down.stderr is not None
        assert down.stderr.readline() == "charge-request STOPPING\n"
        with piped("-d") as up:
            assert up.stderr is not None
            assert "grid is still stopping" in up.stderr.readline()
            client.close()
            assert up.wait(WITHIN_S) == 0
        down.communicate(timeout=WITHIN_S)
        assert down.returncode == 0
    assert not {row["pid"] for row in rows} & {row["pid"] for row in processes()}
    assert gridctl("down").returncode == 0
