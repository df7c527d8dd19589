"""`gridctl.testing`: a grid that is there for a block and gone after it, however the block ends."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from config.errors import NotReady
from gridctl.testing import Grid, running_cluster
from tests.e2e.conftest import Cluster, service_of, supervisor_of, wait_for_state, zygote_of

pytestmark = pytest.mark.e2e


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_grid_takes_charges_and_says_where(cluster: Cluster) -> None:
    grid = cluster(2, time_scale=10)
    status, answer = grid.charge("EV7", duration_s=5)
    assert status == 202
    assert answer["response"]["vehicle_id"] == "EV7"
    assert answer["routed_to"] in {"substation1", "substation2"}
    assert {row["name"] for row in grid.ps()} == {"charge-request", "balancer", "substation1", "substation2"}
    assert {row["state"] for row in grid.ps()} == {"READY"}
    grid.wait_until(lambda grid: grid.top()["grid"]["sessions"] == 0)


def test_a_service_answers_by_its_name(cluster: Cluster) -> None:
    grid = cluster(1)
    status, body = grid.request("GET", "/health", process="substation1")
    assert (status, body["name"]) == (200, "substation1")
    assert "substation_current_load" in grid.request("GET", "/metrics", process="substation1")[1]
    with pytest.raises(LookupError, match="no process 'nobody'; there are"):
        grid.process("nobody")


def test_processes_can_be_found_and_killed(cluster: Cluster) -> None:
    grid = cluster(1)
    assert zygote_of(grid).ppid() == supervisor_of(grid).pid
    first = service_of(grid, "substation1")
    first.kill()
    grid.wait_until(lambda grid: grid.process("substation1")["restarts"] == 1)
    assert wait_for_state(grid, "substation1", "READY")["pid"] != first.pid


def test_all_is_gone_after_an_exception() -> None:
    seen: list[Grid] = []

    def fails() -> None:
        with running_cluster(substations=1) as grid:
            seen.append(grid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert is_gone(seen[0].supervisor_pid)
    assert not seen[0].state_dir.exists()


def test_all_is_gone_after_a_block_that_stopped_it_itself() -> None:
    with running_cluster(substations=1) as grid:
        assert grid.run("down").returncode == 0
        assert grid.run("ps").returncode == 3
    assert not grid.state_dir.exists()


def test_a_topology_file_of_the_user_is_used(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "city.yaml"
    file.write_text(json.dumps({"name": "city", "substations": [{"name": "north", "max_sessions": 2}]}))
    grid = cluster(topology=file)
    assert grid.name == "city"
    assert grid.top()["substations"][0]["max_sessions"] == 2


def test_two_grids_do_not_meet(cluster: Cluster) -> None:
    first, second = cluster(1), cluster(1)
    assert first.url != second.url
    assert first.charge("EV1")[0] == 202
    assert len(first.request("GET", "/sessions", process="substation1")[1]["sessions"]) == 1
    assert second.request("GET", "/sessions", process="substation1")[1]["sessions"] == []


def test_a_grid_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="max_sesions"), running_cluster(topology={"defaults": {"max_sesions": 1}}):
        pytest.fail("it started")


def test_waiting_in_vain_ends_with_the_state_of_all(cluster: Cluster) -> None:
    grid: Grid = cluster(1)
    with pytest.raises(TimeoutError, match="substation1"):
        grid.wait_until(lambda grid: grid.process("nobody"), within_s=0.2)
