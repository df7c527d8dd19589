"""`gridctl ls` on real state folders and sockets."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from gridctl.cli import run
from gridctl.commands.ls import cluster_row
from gridctl.state import ClusterPaths, state_root
from tests.gridctl.fake_supervisor import snapshot, supervisor_at


def stopped(name: str) -> ClusterPaths:
    paths = ClusterPaths(state_root(), name)
    paths.folder.mkdir(parents=True)
    paths.record.write_text(json.dumps({"supervisor_pid": 99}))
    return paths


def test_no_cluster_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ls", "--json"]) == run(["ls"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == []
    assert captured.err == "no clusters; start one: gridctl up -d\n"


def test_json_has_the_documented_keys(capsys: pytest.CaptureFixture[str]) -> None:
    stopped("town")
    city = ClusterPaths(state_root(), "city")
    with supervisor_at(city) as supervisor:
        supervisor.answers["GET /snapshot"] = 200, snapshot("city")
        assert run(["ls", "--json"]) == 0
        assert run(["ls"]) == 0
    out = capsys.readouterr().out
    document, end = json.JSONDecoder().raw_decode(out)
    root = state_root()
    assert document == [
        {
            "name": "city",
            "state": "READY",
            "supervisor_pid": 77,
            "state_dir": str(root / "city"),
            "uptime_s": 61.0,
        },
        {
            "name": "town",
            "state": "STOPPED",
            "supervisor_pid": None,
            "state_dir": str(root / "town"),
            "uptime_s": None,
        },
    ]
    assert [line.split() for line in out[end:].strip().splitlines()] == [
        ["NAME", "STATE", "PID", "UPTIME", "STATE", "DIR"],
        ["city", "READY", "77", "1m01s", str(root / "city")],
        ["town", "STOPPED", "-", "-", str(root / "town")],
    ]


def test_one_that_lives_but_does_not_answer(tmp_path: Path) -> None:
    paths = ClusterPaths(tmp_path / "state", "city")
    with supervisor_at(paths) as supervisor:
        supervisor.hold.clear()
        entry = cluster_row(paths)
    assert (entry["state"], entry["supervisor_pid"]) == ("UNHEALTHY", 4242)


def test_one_that_holds_its_lock_and_has_no_socket_yet() -> None:
    paths = stopped("city")
    with paths.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert cluster_row(paths)["state"] == "STARTING"
    assert cluster_row(paths)["state"] == "STOPPED"
