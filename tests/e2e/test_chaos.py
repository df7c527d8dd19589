"""Chaos on real grids: all is well afterwards, nothing was lost, nobody stays frozen, and a neighbour notices nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from gridctl.chaos.load import STRANGER
from gridctl.testing import Grid
from tests.e2e.conftest import Cluster, supervisor_of, zygote_of

#: A storm, its aftermath and healing, with coverage on a busy machine (wall seconds).
PATIENCE_S = 100.0


def started(grid: Grid, *arguments: str) -> subprocess.Popen[str]:
    """`gridctl chaos` under way."""
    command = [sys.executable, "-P", "-m", "gridctl", "chaos", *arguments]
    return subprocess.Popen(
        command, env=dict(grid.environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def report(stdout: str) -> dict[str, Any]:
    """The document of `--json`."""
    return dict(json.loads(stdout))


def storm(folder: Path, *steps: str) -> str:
    """The path of a file with these steps."""
    file = folder / "storm.yaml"
    file.write_text("".join(f"- {{{step}}}\n" for step in steps))
    return str(file)


class Stranger:
    """Somebody else's server: it waits for a port, takes it as soon as nobody has it, and answers 202 to whatever comes."""

    def __init__(self, port: int) -> None:
        self.answered = 0
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live)

    def __enter__(self) -> Stranger:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _live(self) -> None:
        stranger = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                body = b'{"routed_to": "substation1"}'
                self.send_response(202)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                stranger.answered += 1

            def log_message(self, *_: object) -> None: ...

        while not self._over.wait(0.005):
            with suppress(OSError), HTTPServer(("127.0.0.1", self._port), Handler) as server:
                server.timeout = 0.05
                self._over.wait(0.5)  # whoever was here before is seen to be gone by then
                while not self._over.is_set():
                    server.handle_request()


def frozen(grid: Grid) -> list[str]:
    """Who is frozen."""
    return [row["name"] for row in grid.ps() if psutil.Process(row["pid"]).status() == psutil.STATUS_STOPPED]


def test_half_a_minute_of_a_seed_before_two_balancers_ends_with_all_ready_and_a_table(cluster: Cluster) -> None:
    grid = cluster(3, topology={"balancer": {"replicas": 2}})
    done = grid.run("chaos", "--duration", "30s", "--seed", "7", "--rate", "200", timeout_s=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["state"] for row in grid.ps()} == {"READY"}
    heading, *rows = done.stdout.splitlines()
    assert heading.split() == ["AT", "FAULT", "LASTED", "FAILED", "LONGEST", "GAP", "NOTE"]
    planned = grid.run("chaos", "--duration", "30s", "--seed", "7", "--dry-run").stdout.splitlines()[1:-1]
    assert len(planned) == 14
    for plan, row in zip(planned, rows, strict=False):
        assert plan.split()[2:] == row.split()[2 : len(plan.split())]
    assert "requests:" in done.stdout
    assert "audit: every promise was kept" in done.stdout
    assert "seed 7" in done.stderr


def test_a_storm_meets_everybody_the_supervisor_too_and_nothing_is_lost(cluster: Cluster, tmp_path: Path) -> None:
    grid = cluster(3)
    before = {row["name"]: row["pid"] for row in grid.ps()} | {"zygote": zygote_of(grid).pid}
    file = storm(
        tmp_path,
        "at: 0.5s, do: kill, target: substation2",
        "at: 1s, do: drop, target: 'substation*', pct: 20, for: 2s",
        "at: 1s, do: duplicate, target: charge-request, pct: 20, for: 2s",
        "at: 1.5s, do: delay, target: substation1, by: 0.3s, for: 1s",
        "at: 2s, do: slow, target: balancer, for: 1s",
        "at: 2.5s, do: kill, target: zygote",
        "at: 3s, do: restart, target: substation3",
        "at: 4s, do: kill, target: supervisor",
    )
    done = grid.run("chaos", file, "--rate", "30", "--seed", "1", "--json", timeout_s=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    found = report(done.stdout)
    assert (found["ok"], found["seed"], found["rate"], found["interrupted"]) == (True, 1, 30, False)
    notes = [fault["note"] for fault in found["faults"]]
    assert notes[:8] + notes[9:] == [""] * 9
    assert notes[8] in {"", "the supervisor ended before it had answered"}, "a restart that was still under way"
    assert found["sent"] == found["accepted"] + found["refused"] + found["failed"] > 0
    assert sum(fault["failed"] for fault in found["faults"]) + found["failed_otherwise"] == found["failed"]
    assert all(fault["longest_gap_s"] <= found["longest_gap_s"] for fault in found["faults"])
    assert found["audit"]["ok"]
    after = {row["name"]: row["pid"] for row in grid.ps()}
    assert {row["state"] for row in grid.ps()} == {"READY"}
    assert not set(before.values()) & set(after.values())


def test_who_takes_a_dead_grid_s_port_promises_nothing_in_its_name(cluster: Cluster, tmp_path: Path) -> None:
    grid = cluster(1)
    file = storm(tmp_path, "at: 1s, do: kill, target: supervisor")
    with Stranger(urlsplit(grid.url).port or 0) as stranger:
        done = grid.run("chaos", file, "--rate", "50", "--seed", "1", "--json", timeout_s=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    found = report(done.stdout)
    assert stranger.answered > 0
    assert found["failures"][STRANGER] == stranger.answered
    assert found["accepted"] > 0
    assert found["audit"]["ok"]


def test_ctrl_c_wakes_who_is_paused_and_says_what_was_done(cluster: Cluster, tmp_path: Path) -> None:
    grid = cluster(2)
    file = storm(
        tmp_path, "at: 0, do: pause, target: substation1, for: 10m", "at: 0, do: drop, target: balancer, pct: 90"
    )
    chaos = started(grid, file, "--rate", "0", "--json")
    grid.wait_until(lambda g: frozen(g) == ["substation1"])
    chaos.send_signal(signal.SIGINT)
    stdout, stderr = chaos.communicate(timeout=PATIENCE_S)
    assert chaos.returncode == 130, stderr
    assert frozen(grid) == []
    found = report(stdout)
    assert found["interrupted"]
    assert {fault["note"] for fault in found["faults"]} == {"interrupted"}
    assert found["audit"] is None
    assert grid.request("GET", "/status", process="balancer")[0] == 200


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_chaos_that_is_killed_leaves_nobody_frozen(cluster: Cluster, tmp_path: Path, number: signal.Signals) -> None:
    grid = cluster(1)
    file = storm(
        tmp_path, "at: 0, do: pause, target: substation1, for: 10m", "at: 0, do: pause, target: zygote, for: 10m"
    )
    chaos = started(grid, file, "--rate", "0")
    zygote = zygote_of(grid)
    grid.wait_until(lambda g: frozen(g) == ["substation1"] and zygote.status() == psutil.STATUS_STOPPED)
    chaos.send_signal(number)
    chaos.communicate(timeout=PATIENCE_S)
    grid.wait_until(lambda g: frozen(g) == [] and zygote.status() != psutil.STATUS_STOPPED)
    assert zygote_of(grid) == zygote


def test_a_grid_beside_it_is_not_touched(cluster: Cluster) -> None:
    grid, other = cluster(1, name="stormy"), cluster(2, name="calm")
    launchers = {supervisor_of(other).pid, zygote_of(other).pid}
    before = [(row["name"], row["pid"], row["restarts"]) for row in other.ps()]
    faults = ("kill,restart,pause", "--every", "0.5s", "--duration", "4s", "--rate", "10")
    done = grid.run("chaos", "--seed", "3", "--kinds", *faults, timeout_s=PATIENCE_S)
    assert "audit: every promise was kept" in done.stdout, done.stdout + done.stderr
    assert [(row["name"], row["pid"], row["restarts"]) for row in other.ps()] == before
    assert {row["state"] for row in other.ps()} == {"READY"}
    assert {supervisor_of(other).pid, zygote_of(other).pid} == launchers
    assert sum(row["restarts"] for row in grid.ps()) > 0 or not psutil.pid_exists(grid.supervisor_pid), (
        "no fault hit it"
    )


def test_a_grid_that_is_taken_down_meanwhile_stays_down(cluster: Cluster, tmp_path: Path) -> None:
    grid = cluster(1)
    chaos = started(grid, storm(tmp_path, "at: 0, do: pause, target: substation1, for: 10m"), "--rate", "0")
    grid.wait_until(lambda g: frozen(g) == ["substation1"])
    assert grid.run("down").returncode == 0
    chaos.send_signal(signal.SIGINT)
    _, stderr = chaos.communicate(timeout=PATIENCE_S)
    assert chaos.returncode == 130, stderr
    assert grid.run("ps").returncode == 3


def test_bad_files_and_flags_are_answered_with_all_faults(cluster: Cluster, tmp_path: Path) -> None:
    grid = cluster(1)
    file = storm(tmp_path, "at: soon, do: kill, target: balancer", "at: 1, do: explode, target: balancer")
    done = grid.run("chaos", file)
    assert done.returncode == 2
    assert ":1: [0].at: found the text 'soon'" in done.stderr
    assert ":2: [1].do: found the text 'explode'" in done.stderr
    done = grid.run("chaos", storm(tmp_path, "at: 1, do: kill, target: nobody", "at: 1, do: drop, target: zygote"))
    assert done.returncode == 2
    assert ":1: [0].target" in done.stderr
    assert ":2: [1].target" in done.stderr
    done = grid.run("chaos", "--every", "often", "--rate", "-1", "--kinds", "kill,hug")
    assert done.returncode == 2
    assert all(f"--{flag}:" in done.stderr for flag in ("every", "rate", "kinds"))
    assert grid.run("chaos", file, "--every", "1s").returncode == 2
    assert grid.run("chaos", "--targets", "nobody", "--dry-run").returncode == 2
    assert grid.run("chaos", "--targets", "supervisor", "--kinds", "drop", "--dry-run").returncode == 2


def test_the_example_and_the_schema_are_printed_without_a_grid(environment: dict[str, str], tmp_path: Path) -> None:
    def printed(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "gridctl", "chaos", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert "do: kill, target: supervisor" in printed("--example").stdout
    assert json.loads(printed("--schema").stdout)["title"] == "gridctl storm"
    assert printed("--dry-run").returncode == 3
