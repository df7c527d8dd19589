"""`gridctl explain` on a real grid: what was accepted, what was refused (by the id in the 503), and what nobody knows."""

from __future__ import annotations

import json
from typing import Any

from gridctl.testing import Grid
from tests.e2e.conftest import Cluster


def explained(grid: Grid, request_id: str) -> dict[str, Any]:
    done = grid.run("explain", request_id, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_an_accepted_a_refused_and_an_unknown_request(cluster: Cluster) -> None:
    grid = cluster(2, topology={"defaults": {"max_sessions": 1, "session_s": 600}})
    placed = [grid.charge(f"EV{number}", request_id=f"r{number}")[1] for number in range(2)]
    status, problem = grid.charge("EV9")
    assert status == 503
    for number, answer in enumerate(placed):
        story = explained(grid, f"r{number}")
        [decision] = story["decisions"]
        assert decision["outcome"]["substation"] == answer["routed_to"]
        assert decision["rounds"][-1]["chosen"] == answer["routed_to"]
        [session] = story["sessions"]
        assert (session["substation"], session["state"]) == (answer["routed_to"], "charging")
    text = grid.run("explain", "r0").stdout
    assert f"it went to {placed[0]['routed_to']}" in text
    [refused] = explained(grid, problem["request_id"])["decisions"]
    assert (refused["outcome"]["status"], refused["outcome"]["reason"]) == (503, "grid-full")
    assert [seen["sessions"] for seen in refused["rounds"][-1]["candidates"]] == [1, 1]
    unknown = grid.run("explain", "nobody")
    assert unknown.returncode == 1
    assert "nobody in 'grid' knows of a request 'nobody'" in unknown.stderr
    assert "hint:" in unknown.stderr
    assert grid.run("explain", "../passwd").returncode == 2


def test_what_a_new_balancer_does_not_remember_the_journals_do(cluster: Cluster) -> None:
    grid = cluster(1, topology={"defaults": {"session_s": 600}})
    assert grid.charge("EV1", request_id="r1")[0] == 202
    assert grid.run("restart", "balancer").returncode == 0
    story = explained(grid, "r1")
    assert story["decisions"] == []
    assert [session["source"] for session in story["sessions"]] == ["journal"]
    assert "older than the memory of balancer" in grid.run("explain", "r1").stdout
    assert grid.run("down").returncode == 0
    text = grid.run("explain", "r1").stdout
    assert "No balancer runs that could remember" in text
    assert "substation1, attempt 1, 7.4 kW" in text
