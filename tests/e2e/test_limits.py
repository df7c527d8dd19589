"""Placing on real processes, beside the best that is possible, and audited from what they wrote down."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from gridctl.testing import Grid
from tests.e2e.conftest import Cluster

pytestmark = pytest.mark.e2e

LOAD = ("loadtest", "--rate", "1.2", "--arrivals", "poisson", "--seed", "1", "--audit", "--json")
BROKEN = ("--fail-if", "avoidable_rejections > 0", "--fail-if", "overloads > 0", "--fail-if", "excess > 0")


def test_a_grid_that_is_offered_more_than_it_has_blocks_no_more_than_one_pool_would(cluster: Cluster) -> None:
    grid = cluster(substations=3, time_scale=30)
    done = grid.run(*LOAD, "--duration", "4m", *BROKEN, "--fail-if", "blocked_share > blocked_pooled + 0.02")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["failed"] == 0
    assert result["refused"] > 10
    assert result["blocked_share"] == pytest.approx(result["blocked_pooled"], abs=0.02)
    assert result["spread"] < result["spread_jsq"] + 0.5
    assert 0.9 < result["attempts_per_request"] < 1.5
    assert result["erlang_b"] == pytest.approx(0.23, abs=0.03)
    assert result["unknown"] == {}
    assert result["audit"]["ok"] is True
    checked = result["audit"]["checked"]
    assert (checked["answers"], checked["refusals"]) == (result["accepted"], result["refused"])
    assert (checked["substations"], checked["balancers"], checked["counters"]) == (3, 1, 3)


def test_the_naive_design_overloads_and_the_audit_says_that_nothing_was_promised(cluster: Cluster) -> None:
    naive = {"balancer": {"policy": "least-loaded-stale", "poll_interval_s": 0.2}, "defaults": {"hard_limit": False}}
    grid = cluster(topology={**naive, "substations": 3, "time_scale": 30})
    done = grid.run(*LOAD, "--duration", "4m")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["refused"] == 0
    assert result["peak_load_pct"] > 100
    assert result["excess"] > 0
    assert result["spread"] > result["spread_jsq"] + 0.5
    assert any("I1 is off" in note for note in result["audit"]["notes"])


def test_a_design_that_asks_one_substation_only_is_found_out(cluster: Cluster) -> None:
    stale = {"balancer": {"policy": "least-loaded-stale", "poll_interval_s": 0.5}}
    grid = cluster(topology={**stale, "substations": 3, "time_scale": 30})
    done = grid.run(*LOAD, "--duration", "2m", "--fail-if", "avoidable_rejections > 0")
    assert done.returncode == 4
    assert "avoidable_rejections > 0" in done.stderr
    result = json.loads(done.stdout)
    assert result["avoidable_rejections"] > 0
    assert result["audit"]["ok"] is False
    assert [each["promise"] for each in result["audit"]["violations"]] == (
        ["avoidable-rejection"] * result["avoidable_rejections"]
    )


def test_crashes_break_no_promise_and_the_records_of_a_stopped_grid_prove_it(cluster: Cluster) -> None:
    grid = cluster(substations=3, time_scale=30)
    command = [sys.executable, "-P", "-m", "gridctl", *LOAD, "--duration", "4m"]
    load = subprocess.Popen(command, env=dict(grid.environment), stdout=subprocess.PIPE, text=True)
    try:
        grid.wait_until(lambda grid: _accepted(grid) > 30)
        assert grid.run("kill", "substation2").returncode == 0
        grid.wait_until(lambda grid: _accepted(grid) > 90)
        assert grid.run("kill", "balancer").returncode == 0
        out, _ = load.communicate(timeout=300)
    finally:
        load.kill()
        load.communicate()
    result = json.loads(out)
    assert result["audit"]["violations"] == []
    assert result["audit"]["ok"] is True
    assert load.returncode == 0
    assert grid.run("down").returncode == 0
    stopped = grid.run("audit", "--json")
    assert stopped.returncode == 0, stopped.stderr
    assert json.loads(stopped.stdout)["checked"]["sessions"] >= result["accepted"]


def _accepted(grid: Grid) -> int:
    status, health = grid.request("GET", "/health")
    assert status == 200
    return int(health["requests_total"].get("202", 0))
