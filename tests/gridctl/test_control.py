"""The control client against a real HTTP server on a real Unix socket."""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.errors import GridError, InUse, Invalid, NotReady, NotRunning
from gridctl.control import Control, control_at, control_of, run_operation
from gridctl.state import ClusterPaths
from tests.gridctl.fake_supervisor import Supervisor, process, snapshot, supervisor_at


@pytest.fixture
def paths(tmp_path: Path) -> ClusterPaths:
    return ClusterPaths(tmp_path / "state", "city")


@pytest.fixture
def supervisor(paths: ClusterPaths) -> Iterator[Supervisor]:
    with supervisor_at(paths) as server:
        yield server


def test_snapshot(paths: ClusterPaths, supervisor: Supervisor) -> None:
    supervisor.answers["GET /snapshot"] = 200, snapshot("city", process("substation1"))
    assert control_at(paths).snapshot()["processes"][0]["name"] == "substation1"
    assert control_of("city", None).snapshot()["cluster"]["name"] == "city"


def test_a_snapshot_that_is_no_object_is_an_error(paths: ClusterPaths, supervisor: Supervisor) -> None:
    supervisor.answers["GET /snapshot"] = 200, b"17"
    with pytest.raises(GridError, match="no JSON object"):
        control_at(paths).snapshot()
    supervisor.answers["GET /snapshot"] = 200, b"<html>"
    with pytest.raises(GridError, match="before it had answered"):
        control_at(paths).snapshot()


def test_operation_sends_its_arguments_and_yields_each_line(paths: ClusterPaths, supervisor: Supervisor) -> None:
    lines = [{"message": "draining", "name": "substation3"}, {"done": True, "ok": True, "exit_code": 0}]
    supervisor.answers["POST /operations"] = 200, lines
    assert list(control_at(paths).operation("scale", substations=2)) == lines
    assert supervisor.asked == [("POST /operations", {"verb": "scale", "substations": 2})]


def test_a_stream_may_be_silent_for_longer_than_an_answer_may_take(paths: ClusterPaths, supervisor: Supervisor) -> None:
    supervisor.answers["GET /events?since=7&follow=1"] = 200, [{"seq": 8}, {"seq": 9}]
    supervisor.pause_in_stream.clear()
    events = control_at(paths, timeout_s=0.2).events(since=7, follow=True)
    assert next(events) == {"seq": 8}
    assert not supervisor.pause_in_stream.wait(0.5)  # longer than the client waits for the beginning of an answer
    supervisor.pause_in_stream.set()
    assert list(events) == [{"seq": 9}]


def test_a_supervisor_that_dies_in_the_middle(paths: ClusterPaths, supervisor: Supervisor) -> None:
    supervisor.answers["POST /operations"] = 200, [{"message": "one"}]
    supervisor.truncate = True
    said: list[str] = []
    with pytest.raises(GridError, match="the supervisor ended") as caught:
        run_operation(control_at(paths), "down", {}, said.append)
    assert said == ["one"]
    assert "supervisor.log" in caught.value.hint


def test_an_operation_without_an_outcome_is_an_error(paths: ClusterPaths, supervisor: Supervisor) -> None:
    supervisor.answers["POST /operations"] = 200, [{"message": "one"}]
    with pytest.raises(GridError, match="the supervisor ended"):
        run_operation(control_at(paths), "down", {}, lambda _: None)


def test_run_operation_prints_progress_and_answers_the_outcome(paths: ClusterPaths, supervisor: Supervisor) -> None:
    outcome = {"done": True, "ok": True, "exit_code": 0, "message": "2 substations"}
    supervisor.answers["POST /operations"] = 200, [{"name": "substation1", "state": "READY", "message": "up"}, outcome]
    said: list[str] = []
    assert run_operation(control_at(paths), "apply", {"topology": {}}, said.append) == outcome
    assert said == ["substation1  READY  up"]


@pytest.mark.parametrize(
    ("code", "kind"), [(1, GridError), (2, Invalid), (3, NotRunning), (4, NotReady), (5, InUse), (77, GridError)]
)
def test_a_failed_outcome_is_raised_by_its_exit_code(
    paths: ClusterPaths, supervisor: Supervisor, code: int, kind: type[GridError]
) -> None:
    line = {"done": True, "ok": False, "exit_code": code, "message": "port 9001 is taken", "hint": "free it"}
    supervisor.answers["POST /operations"] = 200, [line]
    with pytest.raises(GridError, match="port 9001 is taken") as caught:
        run_operation(control_at(paths), "apply", {}, lambda _: None)
    assert type(caught.value) is kind
    assert caught.value.hint == "free it"


def test_an_error_status_carries_its_message(paths: ClusterPaths, supervisor: Supervisor) -> None:
    supervisor.answers["POST /operations"] = 422, {"message": "no verb 'fly'", "exit_code": 2}
    with pytest.raises(Invalid, match="no verb 'fly'"):
        list(control_at(paths).operation("fly"))
    supervisor.answers["POST /operations"] = 500, b"oops"
    with pytest.raises(GridError, match="HTTP 500"):
        list(control_at(paths).operation("fly"))


def test_nobody_there(paths: ClusterPaths) -> None:
    with pytest.raises(NotRunning, match="no cluster 'city' is running"):
        control_at(paths).snapshot()
    with pytest.raises(NotRunning, match="no cluster is running at"):
        Control(paths.control_socket).snapshot()


def test_a_socket_that_a_crash_left_behind(paths: ClusterPaths) -> None:
    paths.control_socket.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(paths.control_socket))
    with pytest.raises(NotRunning):
        control_at(paths).snapshot()


def test_a_supervisor_that_does_not_answer_is_named(paths: ClusterPaths, supervisor: Supervisor) -> None:
    supervisor.hold.clear()
    with pytest.raises(GridError, match=r"'city' \(pid 4242\) does not answer \(waited 0.1 s\)") as caught:
        control_at(paths, timeout_s=0.1).snapshot()
    assert str(paths.logs / "supervisor.log") in caught.value.hint
    with pytest.raises(GridError, match=r"does not answer \(waited 0.1 s\)"):
        Control(paths.control_socket, timeout_s=0.1).snapshot()


def test_a_supervisor_that_holds_its_lock_but_has_no_socket_yet(paths: ClusterPaths) -> None:
    paths.folder.mkdir(parents=True)
    with paths.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(GridError, match="does not answer"):
            control_at(paths).snapshot()
