"""Several workers of the charge-request service on one port: all serve, each is a process of its own, and nobody is lost."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gridctl.testing import Grid
from tests.e2e.conftest import Cluster, in_state, service_of
from tests.e2e.test_crashes import placed_more, traffic
from tests.e2e.verbs import declare, ended, path_of, pids, states, typed

pytestmark = pytest.mark.e2e

FRONTS = ("charge-request", "charge-request2")
#: Sessions of half a wall second, and room for all.
SHORT = {"time_scale": 20, "defaults": {"max_sessions": 10_000, "session_s": 10}, "substations": 2}
#: 100 EVs a second, until it is interrupted.
LOAD = ("loadtest", "--rate", "100", "--wall", "--duration", "600s", "--json")


def workers(number: int) -> dict[str, Any]:
    """A topology with so many."""
    return {**SHORT, "request_service": {"workers": number}}


def own(grid: Grid, name: str) -> dict[str, int]:
    """What one worker answered since it started, by status."""
    port = int(grid.process(name)["own_url"].rpartition(":")[2])
    return dict(ask(port, "/health")["requests_total"])


def answered(grid: Grid) -> float:
    """How many charge requests all workers answered, by the shared port's metrics."""
    status, page = grid.request("GET", "/metrics")
    assert status == 200
    lines = [line for line in page.splitlines() if line.startswith("charge_requests_total{")]
    return sum(float(line.split()[-1]) for line in lines)


@contextmanager
def watched(grid: Grid) -> Iterator[list[float]]:
    """What the shared port said of all within the block, in order."""
    seen: list[float] = []
    enough = threading.Event()

    def look() -> None:
        while not enough.is_set():
            with contextlib.suppress(
                OSError, http.client.HTTPException
            ):  # it asked the worker that was killed just then
                seen.append(answered(grid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        enough.set()
        thread.join(30)


def ask(port: int, path: str) -> Any:
    """The JSON at `path`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def test_each_worker_serves_and_is_a_process_of_its_own(cluster: Cluster) -> None:
    grid = cluster(topology=workers(2))
    rows = [row for row in grid.ps() if row["role"] == "charge-request"]
    assert [row["name"] for row in rows] == [*FRONTS]
    assert len({row["url"] for row in rows}) == 1
    assert len({row["own_url"] for row in rows} | {rows[0]["url"]}) == 3
    listed = json.loads((grid.state_dir / grid.name / "prometheus" / "targets.json").read_text())
    found = {
        group["labels"]["worker"]: f"http://{group['targets'][0]}" for group in listed if "worker" in group["labels"]
    }
    assert found == {row["name"]: row["own_url"] for row in rows}
    with traffic(grid) as result:
        grid.wait_until(lambda g: all(own(g, name).get("202", 0) >= 5 for name in FRONTS))
    assert set(result.statuses) == {202}
    assert answered(grid) == result.statuses[202]
    assert grid.request("GET", "/health")[1]["requests_total"] == {"202": result.statuses[202]}
    assert "listening" in grid.run("logs", "charge-request2").stdout


def test_a_worker_that_is_killed_costs_only_what_it_had_in_hand(cluster: Cluster) -> None:
    grid = cluster(topology=workers(2))
    before = pids(grid)
    clients = 4
    with traffic(grid, clients) as result, watched(grid) as seen:
        grid.wait_until(placed_more(result, 20))
        assert grid.run("kill", "-s", "KILL", "charge-request2").returncode == 0
        grid.wait_until(lambda g: g.process("charge-request2")["restarts"] == 1)
        grid.wait_until(in_state("charge-request2", "READY"))
        grid.wait_until(placed_more(result, 20))
    lost = sum(count for word, count in result.statuses.items() if isinstance(word, str))
    assert lost <= clients, result.statuses
    assert {word for word in result.statuses if isinstance(word, int)} == {202}
    after = pids(grid)
    assert {name for name in before if before[name] != after[name]} == {"charge-request2"}
    assert seen == sorted(seen), "a sum over all workers fell"
    assert seen[-1] > max(40, seen[0])
    health = grid.request("GET", "/health")[1]
    assert health["workers"] == dict.fromkeys(FRONTS, "ok")


def test_a_frozen_worker_keeps_nobody_from_the_other_one(cluster: Cluster) -> None:
    grid = cluster(topology=workers(2))
    assert grid.run("pause", "charge-request").returncode == 0
    assert [grid.charge(f"EV{number}")[0] for number in range(20)] == [202] * 20
    assert grid.run("unpause", "charge-request").returncode == 0
    assert set(states(grid).values()) == {"READY"}


def test_no_request_fails_while_workers_restart_one_after_another(cluster: Cluster) -> None:
    grid = cluster(topology=workers(2))
    before = pids(grid)
    with typed(grid, *LOAD) as process:
        grid.wait_until(lambda g: sum(own(g, name).get("202", 0) for name in FRONTS) > 20)
        done = grid.run("restart", "--rolling", "charge-request*")
        grid.wait_until(lambda g: sum(own(g, name).get("202", 0) for name in FRONTS) > 20)  # they count anew
        assert process.poll() is None, "the load ended before the restart"
        process.send_signal(signal.SIGINT)  # no more EVs; it waits for the last answers
        code, out, err = ended(process)
    assert (done.returncode, code) == (0, 130), done.stderr + err
    result = json.loads(out)
    assert result["sent"] == result["accepted"] > 40, result
    after = pids(grid)
    assert {name for name in before if before[name] != after[name]} == {*FRONTS}
    for name in FRONTS:
        assert path_of(grid, name)[2:] == ["STOPPING", "STARTING", "READY"]
    assert answered(grid) == result["sent"], "what a worker counted before it was restarted in order is lost"
    assert sum(own(grid, name).get("202", 0) for name in FRONTS) < result["sent"]


def test_no_request_fails_while_workers_come_and_go(cluster: Cluster) -> None:
    grid = cluster(topology=workers(1))
    balancer = service_of(grid, "balancer").pid
    with traffic(grid) as result:
        grid.wait_until(placed_more(result, 20))
        for number in (3, 2, 1):
            done = grid.run("up", "-d", "--file", declare(grid, workers(number)))
            assert done.returncode == 0, done.stderr
            assert sum(row["role"] == "charge-request" for row in grid.ps()) == number
            grid.wait_until(placed_more(result, 20))
    assert set(result.statuses) == {202}, (result.statuses, result.refusals[:3])
    assert service_of(grid, "balancer").pid == balancer
