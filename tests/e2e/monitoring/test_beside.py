"""What watches a grid from beside it: a real Prometheus, and a program that stands in for Grafana.

Grafana itself was not run here: no package of it can be had. The stand-in takes Grafana's arguments and variables, reads
what it is provisioned with, and answers where Grafana answers.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest
import yaml

from gridctl.testing import Grid, running_cluster
from tests.e2e.conftest import Cluster, in_state, service_of, wait_for_state
from tests.e2e.monitoring.watched import ask

pytestmark = pytest.mark.e2e

#: Scraped ten times as often as usual: nobody wants to wait here.
QUICK: dict[str, Any] = {"name": "watched", "monitoring": {"prometheus": True, "scrape_interval_s": 0.5}}
STAND_IN = """#!{python}
import http.server, json, os, pathlib, signal, sys
told = {{name: value for name, value in os.environ.items() if name.startswith("GF_")}}
folder = pathlib.Path(os.environ["GF_PATHS_PROVISIONING"])
found = {{str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.yaml")}}
pathlib.Path("{record}").write_text(json.dumps({{"argv": sys.argv, "env": told, "files": found}}))

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({{"database": "ok", "version": "0", "commit": ""}}).encode()
        self.send_response(200 if self.path == "/api/health" else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
address = (os.environ["GF_SERVER_HTTP_ADDR"], int(os.environ["GF_SERVER_HTTP_PORT"]))
print(json.dumps({{"logger": "server", "level": "warn", "msg": "stands in", "t": "2026-01-02T03:04:05Z"}}), flush=True)
http.server.ThreadingHTTPServer(address, Answer).serve_forever()
"""


def asked(grid: Grid, expr: str) -> list[tuple[dict[str, str], float]]:
    """The grid's own Prometheus' answer now: labels and value."""
    found = ask(grid.process("prometheus")["url"], "query", query=expr)["result"]
    return [(each["metric"], float(each["value"][1])) for each in found]


def scraped(grid: Grid, count: int) -> None:
    """Wait until Prometheus sees so many targets, and each of them up."""
    grid.wait_until(lambda grid: [value for _, value in asked(grid, "count(up)")] == [count])
    grid.wait_until(lambda grid: [value for _, value in asked(grid, "sum(up)")] == [count])


def labels(grid: Grid) -> set[str]:
    """The labels of all that was scraped."""
    return set(ask(grid.process("prometheus")["url"], "labels"))


@pytest.mark.needs("prometheus")
def test_workers_of_one_port_are_told_apart_and_add_up(cluster: Cluster) -> None:
    grid = cluster(1, topology={**QUICK, "request_service": {"workers": 2}, "defaults": {"max_sessions": 100}})
    scraped(grid, 4)
    fronts = {found.get("worker") for found, _ in asked(grid, 'up{job="charge-request"}')}
    assert fronts == {"charge-request", "charge-request2"}
    assert [grid.charge(f"EV{number}")[0] for number in range(30)] == [202] * 30
    grid.wait_until(lambda grid: [value for _, value in asked(grid, "sum(charge_requests_total)")] == [30])
    both = asked(grid, 'charge_requests_total{status="202"} > 0')
    assert {found["worker"] for found, _ in both} == fronts
    recorded = "cluster:charge_requests:rate1m"
    grid.wait_until(
        lambda grid: [found for found, value in asked(grid, recorded) if value > 0] == [_recorded(recorded)]
    )


def _recorded(name: str) -> dict[str, str]:
    """The labels of a series that is one for the whole cluster."""
    return {"__name__": name, "cluster": "watched"}


@pytest.mark.needs("prometheus")
def test_prometheus_sees_all_follows_a_scale_forgets_nothing_in_a_crash_and_ends_with_the_supervisor(
    cluster: Cluster,
) -> None:
    grid = cluster(3, topology=QUICK)
    scraped(grid, 5)
    assert {(found["job"], found.get("substation_id")) for found, _ in asked(grid, "up")} == {
        ("charge-request", None),
        ("balancer", None),
        *(("substation", f"substation{number}") for number in (1, 2, 3)),
    }
    assert {found["cluster"] for found, _ in asked(grid, "up")} == {"watched"}
    assert not {"url", "load_metric", "external", "draining", "max_sessions", "capacity_kw"} & labels(grid)
    grid.run("scale", "substations=5")
    scraped(grid, 7)
    first = service_of(grid, "prometheus")
    os.kill(first.pid, signal.SIGKILL)
    grid.wait_until(lambda grid: grid.process("prometheus")["restarts"] == 1)
    wait_for_state(grid, "prometheus", "READY")
    grid.wait_until(lambda grid: [value for _, value in asked(grid, "count(count_over_time(up[5m]) > 0)")] == [7])
    second = service_of(grid, "prometheus")
    assert second.pid != first.pid
    psutil.Process(grid.supervisor_pid).kill()
    grid.wait_until(lambda _: not second.is_running() or second.status() == psutil.STATUS_ZOMBIE, within_s=10)


def linted(url: str) -> str:
    """What Prometheus' linter has to say of a page of metrics; nothing, if all is well."""
    with urlopen(f"{url}/metrics", timeout=10) as answer:
        page: bytes = answer.read()
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False, timeout=30)
    return str((done.stdout + done.stderr).decode())


@pytest.mark.needs("prometheus", "promtool")
def test_it_is_no_service_of_the_grid_and_ends_with_it(cluster: Cluster) -> None:
    grid = cluster(2, topology={**QUICK, "time_scale": 10, "durability": "process"})
    tested = grid.run("loadtest", "--rate", "2", "--duration", "20s", "--audit", "--fail-if", "failed > 0", "--json")
    assert tested.returncode == 0, tested.stderr
    assert set(json.loads(tested.stdout)["per_substation"]) == {"substation1", "substation2"}
    assert [row["name"] for row in grid.top()["substations"]] == ["substation1", "substation2"]
    storm = grid.run("chaos", "--duration", "2s", "--every", "0.2s", "--rate", "1", "--kinds", "pause", "--json")
    assert storm.returncode in {0, 4}, storm.stderr
    assert '"prometheus"' not in storm.stdout
    assert grid.process("prometheus")["restarts"] == 0
    for row in grid.ps():
        if row["role"] != "prometheus":
            assert linted(row["url"]) == "", row["name"]
    listed = json.loads((grid.state_dir / "watched" / "prometheus" / "targets.json").read_text())
    assert {group["labels"]["job"] for group in listed} == {"charge-request", "balancer", "substation"}
    prometheus = service_of(grid, "prometheus")
    address = ("127.0.0.1", grid.process("prometheus")["port"])
    assert grid.run("down").returncode == 0
    assert not prometheus.is_running() or prometheus.status() == psutil.STATUS_ZOMBIE
    with socket.socket() as client:
        assert client.connect_ex(address) != 0


@pytest.mark.needs("prometheus")
def test_a_flag_starts_it_and_the_next_plan_says_what_becomes_of_it(cluster: Cluster, tmp_path: Path) -> None:
    plain = tmp_path / "gridctl.yaml"
    plain.write_text("name: plain\nsubstations: 1\n")
    grid = cluster(topology=plain, name="plain")
    with_it = grid.run("up", "-d", "-f", str(plain), "--prometheus")
    assert with_it.returncode == 0, with_it.stderr
    row = wait_for_state(grid, "prometheus", "READY")
    assert f"prometheus      {row['url']}/graph" in with_it.stdout
    assert (row["role"], row["host"]) == ("prometheus", "127.0.0.1")
    planned = grid.run("plan", "-f", str(plain), "--json")
    steps = {step["name"]: step["action"] for step in json.loads(planned.stdout)}
    assert steps == {"prometheus": "stop", "substation1": "keep", "balancer": "keep", "charge-request": "keep"}
    grid.run("scale", "substations=2")
    assert grid.process("prometheus")["pid"] == row["pid"], "a scale leaves it alone"
    assert "Server is ready" in grid.run("logs", "prometheus").stdout
    plain.write_text("name: plain\nsubstations: 2\nbalancer: {poll_interval_s: 20}\n")
    again = grid.run("up", "-d", "-f", str(plain), "--prometheus")
    assert again.returncode == 0, again.stderr
    grid.wait_until(lambda grid: "substation:balancer_report_age_seconds:max > 60" in alarms(grid))
    kept = grid.process("prometheus")
    assert (kept["pid"], kept["restarts"], kept["state"]) == (row["pid"], 0, "READY"), "it read that anew, as it runs"
    grid.run("stop", "prometheus")
    plain.write_text("name: plain\nsubstations: 2\nbalancer: {poll_interval_s: 30}\n")
    assert grid.run("up", "-d", "-f", str(plain), "--prometheus").returncode == 0
    wait_for_state(grid, "prometheus", "READY")
    assert "substation:balancer_report_age_seconds:max > 90" in alarms(grid)


def alarms(grid: Grid) -> str:
    """What the grid's own Prometheus goes by now."""
    return json.dumps(ask(grid.process("prometheus")["url"], "rules", type="alert"))


def test_without_the_program_the_grid_runs_and_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    with running_cluster(topology=QUICK, env={"PATH": str(tmp_path)}) as grid:
        assert [row["role"] for row in grid.ps() if row["role"] == "prometheus"] == []
        said = grid.run("up", "-d", "-f", str(_file_of(grid)))
        assert said.returncode == 0
        assert (
            "prometheus is not installed here, so the grid runs without it; apt-get install prometheus" in said.stderr
        )


def _file_of(grid: Grid) -> Path:
    return Path(json.loads((grid.state_dir / grid.name / "cluster.json").read_text())["source"])


@pytest.mark.needs("prometheus")
def test_a_declared_port_that_is_taken_is_an_error_and_the_usual_one_moves(cluster: Cluster) -> None:
    grid = cluster(1, topology={"name": "a"})
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        file = _file_of(grid)
        text = file.read_text()
        file.write_text(json.dumps({**json.loads(text), "monitoring": {"prometheus": True, "prometheus_port": taken}}))
        refused = grid.run("up", "-d", "-f", str(file))
        assert refused.returncode == 5
        assert f"port {taken} (prometheus) is in use by" in refused.stderr


def test_grafana_is_told_where_its_dashboards_and_its_prometheus_are(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    for name in ("grafana", "prometheus"):
        program = tmp_path / name
        program.write_text(STAND_IN.format(python=sys.executable, record=record) if name == "grafana" else WAITS)
        program.chmod(0o755)
    declared = {"name": "drawn", "substations": 1, "monitoring": {"grafana": True, "scrape_interval_s": 1}}
    with running_cluster(topology=declared, env={"PATH": str(tmp_path)}) as grid:
        grid.wait_until(in_state("grafana", "READY"))
        row, asked_one = grid.process("grafana"), grid.process("prometheus")
        told = json.loads(record.read_text())
        folder = grid.state_dir / "drawn" / "grafana"
        assert told["argv"][1:2] == ["server"]
        assert (told["env"]["GF_SERVER_HTTP_ADDR"], told["env"]["GF_SERVER_HTTP_PORT"]) == (
            "127.0.0.1",
            str(row["port"]),
        )
        assert told["env"]["GF_PATHS_DATA"] == str(folder / "data")
        (source,) = yaml.safe_load(told["files"]["datasources/gridctl.yaml"])["datasources"]
        assert source["url"] == asked_one["url"]
        (provider,) = yaml.safe_load(told["files"]["dashboards/gridctl.yaml"])["providers"]
        assert sorted(path.name for path in Path(provider["options"]["path"]).iterdir()) == [
            "grid.json",
            "services.json",
        ]
        with urlopen(f"{row['url']}/api/health", timeout=5) as answer:
            assert json.load(answer)["database"] == "ok"
        assert "warning stands in" in grid.run("logs", "grafana").stdout
        standing = service_of(grid, "grafana")
    assert not standing.is_running() or standing.status() == psutil.STATUS_ZOMBIE


#: A Prometheus that is ready, and no more.
WAITS = f"""#!{sys.executable}
import http.server, sys
host, port = next(word for word in sys.argv if "listen-address" in word).partition("=")[2].split(":")

class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer((host, int(port)), Ready).serve_forever()
"""
