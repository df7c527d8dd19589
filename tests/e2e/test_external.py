"""A third party's substation, a Flask service that knows nothing of us, balanced together with two of ours."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from gridctl.testing import Grid
from tests.e2e.conftest import Cluster, wait_for_state

#: Sessions last SESSION_S on the wall; its gauge can be told to say anything else.
FLASK = """
import sys, threading, flask
app, lock, sessions, lie = flask.Flask("station"), threading.Lock(), [0], [None]

def end():
    with lock:
        sessions[0] -= 1

@app.post("/charge")
def charge():
    with lock:
        sessions[0] += 1
    timer = threading.Timer(float(sys.argv[3]), end)
    timer.daemon = True
    timer.start()
    return {"status": "charging", "vehicle_id": flask.request.get_json()["ev_id"]}

@app.get("/metrics")
def metrics():
    return f"# TYPE {sys.argv[2]} gauge\\n{sys.argv[2]} {lie[0] or sessions[0]}\\n", {"Content-Type": "text/plain"}

@app.post("/lie")
def tell():
    lie[0] = flask.request.get_data(as_text=True)
    return ""

app.run("127.0.0.1", int(sys.argv[1]), threaded=True)
"""
SESSION_S = 3.0
WITHIN_S = 30.0


@dataclass
class Station:
    """One such service in a process of its own; it can die and come back at its address."""

    gauge: str = "substation_current_load"
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        """Start it, and return once it answers."""
        with socket.create_server(("127.0.0.1", self.port)) as scout:
            self.port = scout.getsockname()[1]
        command = [sys.executable, "-c", FLASK, str(self.port), self.gauge, str(SESSION_S)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        while b"Running on" not in (line := self.process.stderr.readline()):
            assert line, "the station ended"

    def die(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def lies(self, value: str) -> None:
        """From now on its gauge says `value`; the truth again when empty."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/lie", value.encode(), method="POST")
        urllib.request.urlopen(request, timeout=WITHIN_S).close()


@contextmanager
def station(gauge: str = "substation_current_load") -> Iterator[Station]:
    third = Station(gauge)
    third.start()
    try:
        yield third
    finally:
        third.die()


def together(cluster: Cluster, third: Station) -> Grid:
    """Two of ours and the station: sessions of equal length, a balancer that polls often."""
    other = {"name": "other", "url": f"http://127.0.0.1:{third.port}"}
    if third.gauge != "substation_current_load":
        other["load_metric"] = third.gauge
    return cluster(
        topology={
            "balancer": {"poll_interval_s": 0.5},
            "defaults": {"session_s": SESSION_S, "max_sessions": 10},
            "substations": [{"name": "substation1"}, {"name": "substation2"}, other],
        }
    )


def seen(grid: Grid, name: str = "other") -> dict[str, object]:
    """What the balancer says of one substation."""
    rows = grid.request("GET", "/status", process="balancer")[1]["substations"]
    return dict(next(row for row in rows if row["name"] == name))


@pytest.mark.parametrize("gauge", ["substation_current_load", "current_load"])
def test_it_gets_its_share_and_its_load_is_seen(cluster: Cluster, gauge: str) -> None:
    with station(gauge) as third:
        grid = together(cluster, third)
        wait_for_state(grid, "other", "READY")
        done = grid.run("loadtest", "--rate", "4", "--duration", "9s", "--seed", "1", "--json")
        result = json.loads(done.stdout)
        assert result["sent"] == result["accepted"] == 36
        assert all(11 <= entry["accepted"] <= 13 for entry in result["per_substation"].values()), result[
            "per_substation"
        ]
        grid.wait_until(is_loaded)
        grid.wait_until(lambda g: seen(g)["sessions"] == 0)


def is_loaded(grid: Grid) -> bool:
    """Whether, with one EV more, both top and the balancer see sessions at the station."""
    grid.charge("EV-more")
    row = next(row for row in grid.top()["substations"] if row["name"] == "other")
    return bool(row["sessions"] and seen(grid)["sessions"])


def test_it_dies_the_others_take_over_and_it_is_used_again(cluster: Cluster) -> None:
    with station() as third:
        grid = together(cluster, third)
        wait_for_state(grid, "other", "READY")
        third.die()
        assert wait_for_state(grid, "other", "UNHEALTHY")["pid"] is None
        answers = [grid.charge(f"EV{number}") for number in range(9)]
        assert {status for status, _ in answers} == {202}
        assert {answer["routed_to"] for _, answer in answers} == {"substation1", "substation2"}
        third.start()
        wait_for_state(grid, "other", "READY")
        grid.wait_until(lambda g: g.charge("EV-back")[1].get("routed_to") == "other")


def is_polled_anew(grid: Grid) -> Callable[[Grid], bool]:
    """A predicate: the station was heard, or missed, once more since now."""
    before = float(str(seen(grid)["report_age_s"]))
    return lambda g: float(str(seen(g)["report_age_s"])) < before or seen(g)["state"] != "fresh"


def test_whatever_it_claims_the_grid_goes_on(cluster: Cluster) -> None:
    with station() as third:
        grid = together(cluster, third)
        wait_for_state(grid, "other", "READY")
        for claim in ("NaN", "-5", "1e308", "+Inf", "-Inf", "many", ""):
            third.lies(claim)
            grid.wait_until(is_polled_anew(grid))
            answers = [grid.charge(f"EV-{claim}-{number}") for number in range(3)]
            assert {status for status, _ in answers} <= {202, 503}, claim
            assert grid.run("top", "--once").returncode == 0
            assert {row["state"] for row in grid.ps() if row["role"] != "external"} == {"READY"}
        wait_for_state(grid, "other", "READY")
        grid.wait_until(lambda g: g.charge("EV-honest")[1].get("routed_to") == "other")
