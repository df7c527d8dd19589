"""`up`, `plan` and `scale` on a running grid: it becomes what is declared, and only what changed is touched."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gridctl.testing import Grid
from services.substation import journal
from tests.e2e.conftest import Cluster, in_state, wait_for_state
from tests.e2e.verbs import believed, declare, end_all, ended, path_of, pids, sessions, shown_alike, states, typed
from tests.strangers import Stranger, answering

pytestmark = pytest.mark.e2e

#: Sessions that outlast every test, and such of a few seconds.
LONG = {"defaults": {"max_sessions": 100, "session_s": 100_000}}
SHORT = {"defaults": {"max_sessions": 100, "session_s": 4}}


def up(grid: Grid, topology: dict[str, Any], *options: str) -> Any:
    """Converge to `topology`, written to the file that the grid was started from."""
    return grid.run("up", "-d", "--file", declare(grid, topology), *options)


def planned(grid: Grid, topology: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """What `plan` says would change: process → (action, cause)."""
    done = grid.run("plan", "--json", "--file", declare(grid, topology))
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)
    return {step["name"]: (step["action"], step["cause"]) for step in steps if step["action"] != "keep"}


def free_port() -> int:
    """A port that nobody holds just now."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return server.server_port


# -- up ------------------------------------------------------------------------------------------------------------------
EDITS: list[tuple[dict[str, Any], dict[str, tuple[str, str]]]] = [
    ({"substations": 3}, {"substation3": ("start", "in the topology and not running")}),
    ({"substations": 1}, {"substation2": ("stop", "not in the topology any more")}),
    ({"substations": 2, "balancer": {"policy": "random"}}, {"balancer": ("restart", "policy ledger → random")}),
    (
        {"substations": [{"name": "substation1"}, {"name": "substation2", "max_sessions": 3}]},
        {"substation2": ("restart", "max_sessions 10 → 3")},
    ),
    (
        {"substations": [{"name": "substation1"}, {"name": "north"}]},
        {
            "substation2": ("stop", "not in the topology any more"),
            "north": ("start", "in the topology and not running"),
        },
    ),
]


@pytest.mark.parametrize(("edited", "expected"), EDITS)
def test_an_edit_touches_only_what_it_names_and_the_plan_says_so_before(
    cluster: Cluster, edited: dict[str, Any], expected: dict[str, tuple[str, str]]
) -> None:
    grid = cluster(topology={"substations": 2})
    before = pids(grid)
    assert planned(grid, edited) == expected
    dry = grid.run("up", "--dry-run", "--file", declare(grid, edited))
    for name, (action, cause) in expected.items():
        assert any({action, name} <= set(line.split()) and cause in line for line in dry.stdout.splitlines())
    assert pids(grid) == before, "a plan changed something"
    done = up(grid, edited)
    assert done.returncode == 0, done.stderr
    after = pids(grid)
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == set(expected)
    assert set(states(grid).values()) == {"READY"}
    assert planned(grid, edited) == {}
    assert grid.charge("EV1")[0] == 202


def test_the_same_again_touches_nothing(cluster: Cluster) -> None:
    grid = cluster(topology=SHORT)
    before = pids(grid)
    done = up(grid, SHORT)
    assert (done.returncode, pids(grid)) == (0, before), done.stderr


def test_a_fixed_port_moves_and_is_taken_up_by_the_balancer(cluster: Cluster) -> None:
    grid = cluster(topology={"substations": 1})
    first, second = free_port(), free_port()
    for port in (first, second):
        edited = {"substations": [{"name": "substation1", "port": port}]}
        cause = planned(grid, edited)["substation1"][1]
        assert cause.endswith(f"→ {port}")
        assert up(grid, edited).returncode == 0
        assert grid.process("substation1")["port"] == port
        assert grid.charge(f"EV{port}")[0] == 202


def test_a_balancer_that_moves_is_found_by_the_request_service(cluster: Cluster) -> None:
    grid = cluster(topology={"substations": 1})
    port = free_port()
    assert up(grid, {"substations": 1, "balancer": {"port": port}}).returncode == 0
    assert grid.process("balancer")["port"] == port
    assert grid.charge("EV1")[0] == 202


def test_a_change_of_what_is_stopped_starts_it(cluster: Cluster) -> None:
    grid = cluster(topology={"substations": 1})
    assert grid.run("stop", "balancer").returncode == 0
    assert up(grid, {"substations": 1, "balancer": {"policy": "random"}}).returncode == 0
    assert grid.charge("EV1")[0] == 202


def test_a_busy_fixed_port_changes_nothing_and_names_its_holder(cluster: Cluster) -> None:
    grid = cluster(topology={"substations": 1})
    before = pids(grid)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        done = up(grid, {"substations": [{"name": "substation1", "port": server.server_port}, {"name": "other"}]})
        assert done.returncode == 5
        assert f"port {server.server_port} (substation1) is in use by " in done.stderr
    assert pids(grid) == before


def test_another_source_is_refused_unless_forced(cluster: Cluster, tmp_path: Path) -> None:
    grid = cluster(topology={"substations": 1})
    before = pids(grid)
    other = tmp_path / "other.yaml"
    other.write_text(json.dumps({"substations": 2}))
    refused = grid.run("up", "-d", "--file", str(other), "--name", grid.name)
    assert refused.returncode == 5
    assert str(other) in refused.stderr
    assert pids(grid) == before
    forced = grid.run("up", "-d", "--force", "--file", str(other), "--name", grid.name)
    assert forced.returncode == 0, forced.stderr
    assert "substation2" in pids(grid)
    assert grid.run("up", "-d", "--file", str(other), "--name", grid.name).returncode == 0


# -- scale ---------------------------------------------------------------------------------------------------------------
def test_new_substations_get_load_at_once(cluster: Cluster) -> None:
    grid = cluster(1, topology=LONG)
    assert [grid.charge(f"EV{number}")[0] for number in range(4)] == [202] * 4
    assert grid.run("scale", "substations=3").returncode == 0
    assert {grid.charge(f"new{number}")[1]["routed_to"] for number in range(4)} == {"substation2", "substation3"}


def test_who_leaves_is_seen_draining_everywhere_and_goes_with_its_last_session(cluster: Cluster) -> None:
    grid = cluster(2, topology=LONG)
    assert [grid.charge(f"EV{number}")[0] for number in range(2)] == [202, 202]
    with typed(grid, "scale", "substations=1") as process:
        grid.wait_until(in_state("substation2", "DRAINING"))
        assert shown_alike(grid, "substation2", "DRAINING")
        grid.wait_until(lambda g: (believed(g, "substation2") or {}).get("state") == "draining")
        assert grid.charge("late")[1]["routed_to"] == "substation1"
        assert sessions(grid, "substation2") == 1
        assert process.stderr is not None
        expected = "waiting for substation2 (1 session charging, at most "
        assert any(expected in line for line in process.stderr), "it says so after a second"
        end_all(grid, "substation2")
        code, _, _ = ended(process)
    assert code == 0
    assert path_of(grid, "substation2")[-3:] == ["DRAINING", "STOPPING", "STOPPED"]
    assert "substation2" not in pids(grid)
    grid.wait_until(lambda g: believed(g, "substation2") is None)


def test_who_does_not_get_empty_goes_after_the_drain_timeout(cluster: Cluster) -> None:
    grid = cluster(2, topology=LONG)
    assert [grid.charge(f"EV{number}")[0] for number in range(2)] == [202, 202]
    charging = grid.request("GET", "/sessions", process="substation2")[1]["sessions"]
    done = grid.run("scale", "substations=1", "--drain-timeout", "0.5", timeout_s=30)
    assert done.returncode == 0, done.stderr
    assert "substation2" not in pids(grid)
    left = journal.read(grid.state_dir / grid.name / "data" / "substation2.db").sessions
    assert [(it.request_id, it.state, it.reason) for it in left] == [
        (it["request_id"], "dropped", "drain-timeout") for it in charging
    ]


def test_to_nothing_and_back(cluster: Cluster) -> None:
    grid = cluster(2)
    assert grid.run("scale", "substations=0").returncode == 0
    assert set(states(grid)) == {"charge-request", "balancer"}
    grid.wait_until(lambda g: not g.request("GET", "/status", process="balancer")[1]["substations"])
    assert grid.charge("EV1")[0] == 503
    assert grid.run("scale", "substations=2").returncode == 0
    assert set(states(grid).values()) == {"READY"}
    grid.wait_until(lambda g: g.charge("EV2")[0] == 202)


def test_scaling_back_takes_a_draining_one_back_with_its_sessions(cluster: Cluster) -> None:
    grid = cluster(2, topology=LONG)
    assert [grid.charge(f"EV{number}")[0] for number in range(2)] == [202, 202]
    before = pids(grid)
    with typed(grid, "scale", "substations=1") as process:
        wait_for_state(grid, "substation2", "DRAINING")
        refused = grid.run("restart", "substation2")
        assert (refused.returncode, "leaving the grid" in refused.stderr) == (1, True)
        assert grid.run("scale", "substations=2", timeout_s=30).returncode == 0
        assert ended(process)[0] == 0
    assert pids(grid) == before
    assert sessions(grid, "substation2") == 1
    grid.wait_until(lambda g: (believed(g, "substation2") or {}).get("state") == "fresh")
    assert grid.run("scale", "substations=3").returncode == 0


def test_two_at_once_end_with_the_last_ones_wish(cluster: Cluster) -> None:
    grid = cluster(1)
    with typed(grid, "scale", "substations=4") as first:
        grid.wait_until(lambda g: len(g.ps()) == 6)
        last = grid.run("scale", "substations=2")
        code = ended(first)[0]
    assert (last.returncode, code) == (0, 0)
    assert states(grid) == dict.fromkeys(("charge-request", "balancer", "substation1", "substation2"), "READY")


def test_an_external_one_stays_and_may_become_ours(cluster: Cluster) -> None:
    with answering(_Elsewhere) as port:
        other = {"name": "other", "url": f"http://127.0.0.1:{port}"}
        grid = cluster(topology={"substations": [{"name": "substation1"}, other]})
        assert grid.run("scale", "substations=2").returncode == 0
        assert set(pids(grid)) == {"substation1", "substation2", "other", "balancer", "charge-request"}
        assert grid.run("scale", "substations=0").returncode == 0
        wait_for_state(grid, "other", "READY")
        assert up(grid, {"substations": [{"name": "other"}]}).returncode == 0
        assert (grid.process("other")["role"], grid.process("other")["state"]) == ("substation", "READY")
        assert up(grid, {"substations": [other]}).returncode == 0
        assert grid.process("other")["role"] == "external"
        wait_for_state(grid, "other", "READY")


class _Elsewhere(Stranger):
    """Somebody else's substation that only tells its load."""

    def get(self) -> None:
        self.answer(body=b"substation_current_load 0\n")
