"""Every verb on one process and on all: states shown alike everywhere, exit codes, overlapping verbs, sane ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from config.errors import NotReady
from gridctl.testing import Grid
from tests.e2e.conftest import Cluster, in_state, service_of, supervisor_of, wait_for_state
from tests.e2e.verbs import believed, end_all, ended, events, path_of, sessions, shown_alike, states, typed

pytestmark = pytest.mark.e2e

LONG = {"defaults": {"session_s": 100_000}}
REPLY_S = 5.0
#: How long `down` waits for a process unless it is told otherwise (wall seconds).
PATIENCE_S = 10.0


def refuses(grid: Grid, name: str) -> bool:
    """Whether nobody listens on the port of a process."""
    row = grid.process(name)
    try:
        socket.create_connection((row["host"], row["port"]), REPLY_S).close()
    except ConnectionRefusedError:
        return True
    return False


def restarted(count: int, grid: Grid) -> bool:
    """Whether substation1 was restarted that often."""
    return bool(grid.process("substation1")["restarts"] == count)


def lives(pid: int) -> bool:
    """Whether there is such a process; a zombie lives no more, even if nobody has reaped it yet."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def gone(grid: Grid) -> bool:
    """Whether the cluster is down: no supervisor, and `ps` says so."""
    return not lives(grid.supervisor_pid) and grid.run("ps").returncode == 3


# -- one verb ------------------------------------------------------------------------------------------------------------
def test_stop_stays_down_refuses_and_start_brings_it_back(cluster: Cluster) -> None:
    grid = cluster(2)
    assert grid.run("stop", "substation2").returncode == 0
    assert shown_alike(grid, "substation2", "STOPPED")
    assert refuses(grid, "substation2")
    assert grid.process("substation2")["pid"] is None
    assert grid.charge("EV1")[1]["routed_to"] == "substation1"
    assert grid.run("stop", "substation2").returncode == 0
    assert states(grid)["substation2"] == "STOPPED"
    assert grid.run("start", "substation2").returncode == 0
    assert shown_alike(grid, "substation2", "READY")
    assert grid.run("start").returncode == 0
    assert grid.process("substation2")["restarts"] == 0


def test_stop_with_drain_lets_sessions_end(cluster: Cluster) -> None:
    grid = cluster(1, topology=LONG)
    assert grid.charge("EV1")[0] == 202
    with typed(grid, "stop", "--drain", "--drain-timeout", "600", "substation1") as process:
        grid.wait_until(in_state("substation1", "DRAINING"))
        assert (believed(grid, "substation1") or {})["sessions"] == 1
        end_all(grid, "substation1")
        assert ended(process)[0] == 0
    assert path_of(grid, "substation1")[-3:] == ["DRAINING", "STOPPING", "STOPPED"]


def test_pause_and_unpause_are_shown_alike(cluster: Cluster) -> None:
    grid = cluster(2)
    assert grid.run("pause", "substation1").returncode == 0
    assert shown_alike(grid, "substation1", "PAUSED")
    assert service_of(grid, "substation1").status() == psutil.STATUS_STOPPED
    again = grid.run("pause", "substation1")
    assert again.returncode == 0
    assert grid.run("unpause", "substation1").returncode == 0
    assert shown_alike(grid, "substation1", "READY")
    wrong = grid.run("unpause", "nosuch")
    assert wrong.returncode == 2


def test_kill_is_a_crash_and_comes_back_whatever_the_signal(cluster: Cluster) -> None:
    grid = cluster(2)
    for count, word in enumerate(("TERM", "SIGKILL", "3"), start=1):
        assert grid.run("kill", "-s", word, "substation1").returncode == 0
        grid.wait_until(partial(restarted, count))
        wait_for_state(grid, "substation1", "READY")
    reasons = [event["reason"] for event in events(grid, "substation1") if event["to"] == "BACKOFF"]
    assert reasons == ["exit code 0", "killed by SIGKILL", "killed by SIGQUIT"]
    assert grid.run("kill", "-s", "NOSUCH", "substation1").returncode == 2


def test_globs_and_names_that_are_none(cluster: Cluster) -> None:
    grid = cluster(3)
    assert grid.run("stop", "substation[12]").returncode == 0
    assert [states(grid)[f"substation{number}"] for number in (1, 2, 3)] == ["STOPPED", "STOPPED", "READY"]
    assert grid.run("start", "sub*").returncode == 0
    for verb in ("start", "stop", "restart", "kill", "pause", "unpause"):
        done = grid.run(verb, "balancr")
        assert done.returncode == 2, verb
        assert "did you mean balancer?" in done.stderr, verb
    assert set(states(grid).values()) == {"READY"}


def test_frozen_by_somebody_else_it_is_unhealthy_and_then_ready_again(cluster: Cluster) -> None:
    grid = cluster(2)
    pid = grid.process("substation1")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for_state(grid, "substation1", "UNHEALTHY")
        assert shown_alike(grid, "substation1", "UNHEALTHY")
        assert "no answer within" in events(grid, "substation1")[-1]["reason"]
    finally:
        os.kill(pid, signal.SIGCONT)
    row = wait_for_state(grid, "substation1", "READY")
    assert (row["pid"], row["restarts"]) == (pid, 0)


# -- what never comes up -------------------------------------------------------------------------------------------------
#: Stands before a library of the same name: with it, one service fails at each start for as long as a file is there.
BROKEN = """
from pathlib import Path

def setproctitle(title):
    if title.startswith("gridctl: substation1 ") and Path(__file__).with_name("broken").exists():
        raise RuntimeError("out of luck")
"""


def test_what_never_comes_up_is_fatal_and_told_and_comes_once_it_can(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "setproctitle.py").write_text(BROKEN)
    grid = cluster(2, env={"PYTHONPATH": str(tmp_path)})
    (tmp_path / "broken").touch()
    done = grid.run("restart", "substation1")
    assert done.returncode == 4
    assert "substation1 BACKOFF: exit code 1" in done.stderr
    assert "never came up in 5 starts" in done.stderr
    assert "RuntimeError: out of luck" in done.stderr, "the last log lines"
    assert str(grid.state_dir / grid.name / "logs" / "substation1.log") in done.stderr
    assert shown_alike(grid, "substation1", "FATAL")
    assert states(grid)["substation2"] == "READY"
    assert refuses(grid, "substation1")
    again = grid.run("up", "-d", "--file", str(grid.state_dir.parent / "gridctl.yaml"), "--substations", "2")
    assert again.returncode == 4
    assert grid.charge("EV1")[0] == 202
    (tmp_path / "broken").unlink()
    assert grid.run("start", "substation1").returncode == 0
    assert shown_alike(grid, "substation1", "READY")


def test_a_first_up_that_never_comes_up_says_why(tmp_path: Path, cluster: Cluster) -> None:
    (tmp_path / "setproctitle.py").write_text(BROKEN)
    (tmp_path / "broken").touch()
    with pytest.raises(NotReady, match=r"(?s)substation1: never came up in 5 starts.*RuntimeError: out of luck"):
        cluster(2, env={"PYTHONPATH": str(tmp_path)})


def test_the_port_of_a_stopped_service_stays_its_own(cluster: Cluster) -> None:
    grid = cluster(1)
    assert grid.run("stop", "substation1").returncode == 0
    row = grid.process("substation1")
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            thief.bind((row["host"], row["port"]))
    assert grid.run("start", "substation1").returncode == 0


# -- two verbs at once ---------------------------------------------------------------------------------------------------
def test_a_stop_wins_over_a_restart_that_is_under_way(cluster: Cluster) -> None:
    grid = cluster(2, topology=LONG)
    assert grid.charge("EV1")[0] == 202
    assert grid.charge("EV2")[0] == 202
    with typed(grid, "restart", "--rolling", "--drain", "substation*") as process:
        grid.wait_until(in_state("substation1", "DRAINING"))
        assert grid.run("stop", "substation1").returncode == 0
        code, _, err = ended(process)
    assert (code, "stopped meanwhile by another command: substation1" in err) == (4, True)
    assert (states(grid)["substation1"], states(grid)["substation2"]) == ("STOPPED", "READY")


def test_down_wins_over_a_scale_that_waits(cluster: Cluster) -> None:
    grid = cluster(2, topology=LONG)
    assert [grid.charge(f"EV{number}")[0] for number in range(2)] == [202, 202]
    with typed(grid, "scale", "substations=1") as process:
        grid.wait_until(in_state("substation2", "DRAINING"))
        assert grid.run("down").returncode == 0
        assert ended(process)[0] in {0, 4}
    grid.wait_until(gone)


def test_down_wins_over_a_start_and_nothing_starts_afterwards(cluster: Cluster) -> None:
    grid = cluster(1)
    with typed(grid, "scale", "substations=30") as process:
        grid.wait_until(lambda g: len(g.ps()) == 32)
        assert grid.run("down").returncode == 0
        assert ended(process)[0] in {0, 4}
    grid.wait_until(gone)


def test_down_twice_at_once(cluster: Cluster) -> None:
    grid = cluster(2)
    with typed(grid, "down") as first, typed(grid, "down") as second:
        codes = sorted([ended(first)[0], ended(second)[0]])
    assert codes in ([0, 0], [0, 3])
    grid.wait_until(gone)


def test_a_going_grid_starts_nothing_any_more(cluster: Cluster) -> None:
    grid = cluster(1)
    with _half_a_request(grid) as connection, typed(grid, "down", "-t", "60") as process:
        grid.wait_until(in_state("charge-request", "STOPPING"))
        assert grid.run("restart", "balancer").returncode == 5
        connection.close()
        code, _, err = ended(process)
    assert code == 0, err


# -- down ----------------------------------------------------------------------------------------------------------------
def test_down_answers_what_is_under_way(cluster: Cluster) -> None:
    grid = cluster(1)
    with _half_a_request(grid) as connection, typed(grid, "down") as process:
        grid.wait_until(in_state("charge-request", "STOPPING"))
        connection.sendall(b'"EV1"}')
        answer = connection.recv(65536).decode()
        assert ended(process)[0] == 0
    assert answer.startswith("HTTP/1.1 202 "), answer
    assert "Connection: close" in answer
    grid.wait_until(gone)


def test_two_downs_do_not_cut_what_is_under_way(cluster: Cluster) -> None:
    grid = cluster(1)
    with _half_a_request(grid) as connection, typed(grid, "down") as first:
        grid.wait_until(in_state("charge-request", "STOPPING"))
        with typed(grid, "down") as second:
            line = "" if second.stderr is None else second.stderr.readline()
            assert "STOPPING" in line
            connection.sendall(b'"EV1"}')
            assert connection.recv(65536).startswith(b"HTTP/1.1 202 ")
            assert {ended(first)[0], ended(second)[0]} == {0}
    grid.wait_until(gone)


def _half_a_request(grid: Grid) -> socket.socket:
    """A connection on which a request has begun."""
    row = grid.process("charge-request")
    head = "POST /charge HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n"
    connection = socket.create_connection((row["host"], row["port"]), 30)
    connection.sendall(head.encode() + b'{"ev_id": ')
    return connection


def test_who_does_not_end_is_named_while_waited_for_and_killed_in_the_end(cluster: Cluster) -> None:
    grid = cluster(1)
    with _half_a_request(grid) as connection, typed(grid, "down", "-t", "6.4") as process:
        code, _, err = ended(process)
        assert connection.recv(10) == b""
    assert code == 0, err
    assert re.search(r"waiting for charge-request \(stopping, killed in [1-5] s\)", err), err
    assert events(grid, "charge-request")[-1]["to"] == "STOPPED"
    grid.wait_until(gone)


def test_patience_of_nothing_kills_at_once(cluster: Cluster) -> None:
    grid = cluster(2)
    with _half_a_request(grid) as connection:
        assert grid.run("down", "-t", "0").returncode == 0
        assert connection.recv(10) == b""
    grid.wait_until(gone)
    stopping, stopped = [datetime.fromisoformat(event["ts"]) for event in events(grid, "charge-request")[-2:]]
    assert (stopped - stopping).total_seconds() < PATIENCE_S
    assert '"stopped"' not in (grid.state_dir / grid.name / "logs" / "charge-request.log").read_text(), "it was killed"


def test_down_with_drain_lets_every_session_end(cluster: Cluster) -> None:
    grid = cluster(2, topology=LONG)
    assert [grid.charge(f"EV{number}", request_id=f"r{number}")[0] for number in range(2)] == [202, 202]
    with typed(grid, "down", "--drain") as process:
        grid.wait_until(in_state("substation1", "DRAINING"))
        assert sessions(grid, "substation1") == 1
        assert process.stderr is not None
        assert any("waiting for substation" in line for line in process.stderr), "it says so after a second"
        end_all(grid, "substation1", "substation2")
        code, _, _ = ended(process)
    assert code == 0
    assert path_of(grid, "substation1")[-3:] == ["DRAINING", "STOPPING", "STOPPED"]


def test_followers_of_the_events_do_not_hold_a_grid_up(cluster: Cluster) -> None:
    grid = cluster(1)
    control = socket.socket(socket.AF_UNIX)
    with control:
        control.connect(str(_control_socket(grid)))
        control.sendall(b"GET /events?follow=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in control.recv(4096)
        assert grid.run("down").returncode == 0
        grid.wait_until(gone)


def _control_socket(grid: Grid) -> Any:
    record = json.loads((grid.state_dir / grid.name / "cluster.json").read_text())
    return record["control_socket"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_supervisor_that_is_told_to_goes_down_gracefully(cluster: Cluster, number: signal.Signals) -> None:
    grid = cluster(1)
    children = supervisor_of(grid).children()
    with _half_a_request(grid) as connection:
        os.kill(grid.supervisor_pid, number)
        grid.wait_until(in_state("charge-request", "STOPPING"))
        os.kill(grid.supervisor_pid, number)
        connection.sendall(b'"EV1"}')
        assert connection.recv(65536).startswith(b"HTTP/1.1 202 ")
    grid.wait_until(gone)
    assert not [child for child in children if lives(child.pid)]
    assert not (grid.state_dir / grid.name / "cluster.json").exists()


# -- what it costs -------------------------------------------------------------------------------------------------------
def test_many_restarts_leak_no_descriptor_and_no_process(cluster: Cluster) -> None:
    grid = cluster(10)
    supervisor = supervisor_of(grid)
    grid.run("kill", "substation*")
    grid.wait_until(lambda g: settled(g, 1))
    descriptors, children = supervisor.num_fds(), len(supervisor.children(recursive=True))
    for count in (2, 3, 4):
        assert grid.run("kill", "substation*").returncode == 0
        grid.wait_until(partial(settled, restarts=count))
    grid.run("restart", "substation*")
    assert grid.run("scale", "substations=12").returncode == 0
    assert grid.run("scale", "substations=10").returncode == 0
    # what is open for a moment, connections of health questions, may come and go
    grid.wait_until(lambda _: supervisor.num_fds() <= descriptors + 2, within_s=15)
    assert len(supervisor.children(recursive=True)) == children


def settled(grid: Grid, restarts: int) -> bool:
    """Whether all are READY and every substation was restarted that often."""
    rows = [row for row in grid.ps() if row["role"] == "substation"]
    return {(row["state"], row["restarts"]) for row in rows} == {("READY", restarts)}
