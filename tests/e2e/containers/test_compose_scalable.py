"""`gridctl compose export --scalable` on a real Docker Engine: replicas come, go and are killed under load."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from gridctl import audit
from gridctl.state import ClusterPaths
from services.substation.journal import SessionRecord, read
from tests.e2e.containers.engine import Project, gridctl, project, run, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

#: A session of the load takes 4 s of wall time, and so does a drain.
TOPOLOGY = {
    "name": "city",
    "time_scale": 10,
    "balancer": {"poll_interval_s": 1, "replicas": 2},
    "defaults": {"session_s": 40, "max_sessions": 20},
    "substations": 3,
}
#: No registry has an image of Grafana for this machine.
STARTED = ("charge-request", "prometheus")
#: Where each balancer listens.
BALANCERS = {"balancer": 8081, "balancer2": 8082}
#: These outlast every drain, and the test (grid seconds).
LONG_S = 50_000
LONG = 24
#: EVs a second of wall time, and for how long.
RATE, LOAD_S = 4, 55
SENT = re.compile(r"\[SENT\] .* -> (\d{3}): (\{.*\})")


@pytest.fixture
def grid(images: dict[str, str], tmp_path: Path) -> Iterator[Project]:
    topology = tmp_path / "gridctl.yaml"
    topology.write_text(yaml.safe_dump(TOPOLOGY))
    gridctl("compose", "export", "--scalable", "-f", topology, "-o", tmp_path / "out")
    with project(tmp_path / "out", "scalable") as made:
        yield made


@dataclass(slots=True)
class Told:
    """What clients were answered."""

    statuses: Counter[int] = field(default_factory=Counter)
    accepted: list[audit.Answered] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    def note(self, status: int, body: dict[str, object], line: str) -> None:
        self.statuses[status] += 1
        if status == 202:
            self.accepted.append(audit.Answered(str(body["request_id"]), time.time(), str(body["routed_to"])))
        else:
            self.other.append(line)


def scale(grid: Project, replicas: int) -> None:
    """As the README says it; each balancer, and Prometheus through them, know exactly so many afterwards."""
    grid.compose("up", "-d", "--scale", f"substation={replicas}", *STARTED)
    assert len(grid.containers("substation")) == replicas
    for name, port in BALANCERS.items():
        until(lambda of=(name, port): len(substations(grid, *of)) == replicas, f"{replicas} substations in {name}")  # type: ignore[misc]
    wanted = {f"substation_id={name}": 1.0 for name in substations(grid)}
    query = "sum by (substation_id) (up{job='substation',cluster='city'})"
    until(lambda: grid.prometheus(query) == wanted, f"{sorted(wanted)} up in Prometheus")


def substations(grid: Project, balancer: str = "balancer", port: int = 8081) -> set[str]:
    """Those that a balancer believes in and hears."""
    found = grid.ask(grid.one(balancer), port, "/status")["substations"]
    return {each["name"] for each in found if each["state"] == "fresh"}


def charge(grid: Project, told: Told, number: int) -> None:
    """One session that outlasts the test."""
    body = json.dumps({"ev_id": f"LONG{number}", "request_id": f"long-{number}", "duration_s": LONG_S}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {grid.token}"}
    with urllib.request.urlopen(urllib.request.Request(f"{grid.url}/charge", body, headers), timeout=20) as answer:
        told.note(answer.status, json.load(answer), "")


@contextmanager
def load(grid: Project, told: Told) -> Iterator[None]:
    """The load tester from outside, until all of its EVs were answered."""
    scenario = ("--wall", "--rate", str(RATE), "--duration", str(LOAD_S), "--seed", "1", "-v")
    command = [sys.executable, "-P", "-m", "gridctl", "loadtest", "--target", grid.url, *scenario]
    environ = {**os.environ, **grid.client}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as tester:
        lines = threading.Thread(target=listen, args=(tester, told))
        lines.start()
        try:
            yield
        except BaseException:
            tester.kill()
            raise
        finally:
            lines.join(LOAD_S + 60)


def listen(tester: subprocess.Popen[str], told: Told) -> None:
    for line in tester.stdout or ():
        if found := SENT.search(line):
            told.note(int(found[1]), ast.literal_eval(found[2]), line)


def journals(grid: Project, folder: Path) -> ClusterPaths:
    """What all services wrote down, laid out as the audit reads it."""
    paths = ClusterPaths(folder, "city")
    paths.data.mkdir(parents=True)
    paths.logs.mkdir()
    for volume in ("substations", "balancer"):
        found = json.loads(run("docker", "volume", "inspect", f"{grid.name}_{volume}"))
        for file in Path(found[0]["Mountpoint"]).glob("*.db*"):
            shutil.copy2(file, paths.data)
    return paths


def test_replicas_come_go_and_are_killed_and_lose_no_session(grid: Project, tmp_path: Path) -> None:
    grid.up(*STARTED)
    assert len(grid.containers("substation")) == 3
    told = Told()
    with load(grid, told):
        watched(grid)
        scale(grid, 6)
        for number in range(LONG):
            charge(grid, told, number)
        scale(grid, 2)
        crash(grid, "substation")
        until(lambda: len(substations(grid)) == 2, "two substations after a crash")
        crash(grid, "balancer")
        until(lambda: len(substations(grid)) == 2, "two substations after the balancer's crash")
    assert told.statuses == {202: RATE * LOAD_S + LONG}, told.other[:5]

    scale(grid, 6)
    assert substations(grid) == {f"substation-{number}" for number in range(1, 7)}, "the same names, whoever has them"
    logs = {name: run("sh", "-c", f"docker logs {grid.one(name).id} 2>&1") for name in BALANCERS}
    grid.compose("stop")
    judged(grid, told, tmp_path, logs)


def watched(grid: Project) -> None:
    """Prometheus sees every target up, and the load of the grid."""
    targets = {f"job=substation,substation_id=substation-{k}": 1.0 for k in (1, 2, 3)}
    targets |= {"job=balancer": float(len(BALANCERS)), "job=charge-request": 1.0}
    query = "sum by (job, substation_id) (up{cluster='city'})"
    until(lambda: grid.prometheus(query) == targets, "every target up")
    sessions = "sum(substation_current_load{cluster='city'})"
    until(lambda: grid.prometheus(sessions).get("", 0) > RATE, "the sessions of the grid in Prometheus")
    loading = "grid_loading_percentage{cluster='city'}"
    until(lambda: {0 < value < 100 for value in grid.prometheus(loading).values()} == {True}, "the grid's load")


def crash(grid: Project, service: str) -> None:
    """`kill -9` of a container's process; its restart policy answers."""
    victim = grid.containers(service)[0]
    victim.kill_from_outside()

    def is_back() -> bool:
        (now,) = [each for each in grid.containers(service) if each.id == victim.id]
        return now.restarts == 1 and now.health == "healthy"

    until(is_back, f"{service} back")


def judged(grid: Project, told: Told, folder: Path, logs: dict[str, str]) -> None:
    """Every EV that was told that it charges did so once, as planned, or does so still; and the audit finds no fault."""
    paths = journals(grid, folder)
    for name, log in logs.items():
        (paths.logs / f"{name}.log").write_text(log)
    records: dict[str, list[SessionRecord]] = {}
    for path in sorted(paths.data.glob("substation-*.db")):
        for record in read(path).sessions:
            records.setdefault(record.request_id, []).append(record)
    kept = {request_id: [each for each in found if each.state != "revoked"] for request_id, found in records.items()}
    assert {answer.request_id for answer in told.accepted} == kept.keys()
    assert [request_id for request_id, found in kept.items() if len(found) != 1] == []
    states = Counter(each.state for (each,) in kept.values())
    assert states == {"ended": RATE * LOAD_S, "charging": LONG}
    assert all(each.ended_s == each.ends_s for (each,) in kept.values() if each.state == "ended")
    verdict = audit.run(paths, told.accepted)
    assert verdict.ok, verdict.to_json()
    assert verdict.checked["answers"] == len(told.accepted)
