"""Two real balancers: any of them may restart, die or hang, and nobody is refused, lost or placed twice for that."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.request import urlopen

import pytest

from gridctl.testing import Grid
from services.balancer import journal
from tests.e2e.conftest import Cluster
from tests.e2e.test_crashes import placed_more, traffic
from tests.e2e.verbs import declare

pytestmark = pytest.mark.e2e

#: Two balancers; sessions of half a wall second, and room for all.
TWO = {"time_scale": 20, "balancer": {"replicas": 2}, "defaults": {"max_sessions": 10_000, "session_s": 10}}


def name_of(number: int) -> str:
    """Of the first or the second."""
    return "balancer" if number == 1 else f"balancer{number}"


def balancers(grid: Grid, number: int) -> list[dict[str, object]]:
    """The balancers as the first or second sees them, itself first."""
    url = grid.process(name_of(number))["url"]
    with urlopen(f"{url}/status", timeout=30) as answer:
        return list(json.load(answer)["balancers"])


def agree(grid: Grid) -> bool:
    """Whether both have their share and say so of each other."""
    return all([one["state"] for one in balancers(grid, number)] == ["ready", "up"] for number in (1, 2))


def restarted_more(grid: Grid, name: str) -> Callable[[Grid], bool]:
    """A predicate: `name` came back once more since now."""
    before = grid.process(name)["restarts"]
    return lambda g: bool(g.process(name)["restarts"] > before)


def audited(grid: Grid) -> bool:
    """Whether every promise was kept."""
    done = grid.run("audit", "--json", timeout_s=60)
    assert done.returncode == 0, done.stdout
    return bool(json.loads(done.stdout)["ok"])


def test_both_place_and_know_each_other(cluster: Cluster) -> None:
    grid = cluster(3, topology=TWO)
    assert [row["name"] for row in grid.ps() if row["role"] == "balancer"] == ["balancer", "balancer2"]
    assert agree(grid)
    assert {grid.charge(f"EV{number}")[0] for number in range(40)} == {202}
    for number in (1, 2):
        with urlopen(f"{grid.process(name_of(number))['url']}/health", timeout=30) as answer:
            assert json.load(answer)["accepted_total"] > 5
    assert audited(grid)


def test_no_request_fails_while_both_restart_in_turn(cluster: Cluster) -> None:
    grid = cluster(3, topology=TWO)
    with traffic(grid, clients=3) as result:
        grid.wait_until(placed_more(result, 20))
        done = grid.run("restart", "--rolling", "balancer*")
        grid.wait_until(placed_more(result, 20))
    assert done.returncode == 0, done.stderr
    assert set(result.statuses) == {202}, (result.statuses, result.refusals[:3])
    assert agree(grid)
    assert audited(grid)


def test_a_killed_one_costs_no_answer(cluster: Cluster) -> None:
    grid = cluster(3, topology=TWO)
    with traffic(grid, clients=3) as result:
        for number in (1, 2, 1):
            grid.wait_until(placed_more(result, 20))
            again = restarted_more(grid, name_of(number))
            assert grid.run("kill", name_of(number)).returncode == 0
            grid.wait_until(again)
            grid.wait_until(placed_more(result, 20))
    assert set(result.statuses) == {202}, (result.statuses, result.refusals[:3])
    grid.wait_until(agree)
    assert audited(grid)


def test_a_frozen_one_is_taken_over_and_comes_back_as_another(cluster: Cluster) -> None:
    grid = cluster(3, topology=TWO)
    was = balancers(grid, 1)[1]["incarnation"]
    with traffic(grid, clients=6) as result:
        grid.wait_until(placed_more(result, 20))
        assert grid.run("pause", "balancer2").returncode == 0
        grid.wait_until(lambda g: balancers(g, 1)[1]["state"] == "down")
        grid.wait_until(placed_more(result, 40))
        assert grid.run("unpause", "balancer2").returncode == 0
        grid.wait_until(agree)
        grid.wait_until(placed_more(result, 40))
    assert set(result.statuses) == {202}, (result.statuses, result.refusals[:3])
    assert balancers(grid, 1)[1]["incarnation"] > was  # type: ignore[operator]
    assert audited(grid)


def test_who_waits_goes_on_to_wait_as_balancers_come_and_go(cluster: Cluster) -> None:
    def topology(replicas: int) -> dict[str, object]:
        balancer = {"replicas": replicas, "admission": "queue"}
        return {"substations": 1, "balancer": balancer, "defaults": {"max_sessions": 1, "session_s": 100_000}}

    def ask(number: int) -> str:
        status, answer = grid.charge(f"EV{number}", request_id=f"r{number}")
        assert status == 202, answer
        return str(answer["response"]["status"])

    grid = cluster(topology=topology(1))
    assert [ask(number) for number in range(5)] == ["charging started"] + ["queued"] * 4
    for replicas in (2, 1):
        done = grid.run("up", "-d", "--file", declare(grid, topology(replicas)))
        assert done.returncode == 0, done.stderr
        new = range(5 * replicas, 5 * replicas + 5)
        assert [ask(number) for number in new] == ["queued"] * 5
    waiting = [row["balancer"] for row in queued(grid)]
    assert len(waiting) == 14
    assert set(waiting) == {"balancer"}
    assert [ask(number) for number in range(1, 15)] == ["queued"] * 14, "the same answer again"
    assert audited(grid)


def queued(grid: Grid) -> list[dict[str, str]]:
    """Who waits, by the balancers' journals."""
    found = []
    for path in (grid.state_dir / grid.name / "data").glob("balancer*.db"):
        rows = journal.read(path).queue
        found += [{"balancer": path.stem, "request_id": row.request_id} for row in rows if row.state == "queued"]
    return found


def test_who_waits_at_balancers_that_are_gone_when_it_starts_waits_at_the_first(cluster: Cluster) -> None:
    def topology(replicas: int) -> dict[str, object]:
        balancer = {"replicas": replicas, "admission": "queue"}
        return {"substations": 1, "balancer": balancer, "defaults": {"max_sessions": 1, "session_s": 100_000}}

    grid = cluster(topology=topology(3))
    for number in range(12):
        assert grid.charge(f"EV{number}", request_id=f"r{number}")[0] == 202
    assert len({row["balancer"] for row in queued(grid)}) > 1
    assert grid.run("down").returncode == 0
    done = grid.run("up", "-d", "--file", declare(grid, topology(1)))
    assert done.returncode == 0, done.stderr
    assert {row["balancer"] for row in queued(grid)} == {"balancer"}
    assert sorted(row["request_id"] for row in queued(grid)) == sorted(f"r{number}" for number in range(1, 12))
    assert audited(grid)
