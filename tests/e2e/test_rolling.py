"""`restart --rolling` under load: nobody is refused or cut off, and every session charges on, or ends first if so wished."""

from __future__ import annotations

import json
import signal

import pytest

from tests.e2e.conftest import Cluster, in_state
from tests.e2e.test_crashes import placed_more, traffic
from tests.e2e.verbs import end_all, ended, events, path_of, pids, placed, sessions, states, typed

pytestmark = pytest.mark.e2e

#: Sessions of half a wall second, and room for all.
SHORT = {"time_scale": 20, "defaults": {"max_sessions": 10_000, "session_s": 10}}
#: Sessions that outlast every test.
LONG = {"defaults": {"max_sessions": 1000, "session_s": 100_000}}
#: 100 EVs a second, until it is interrupted.
LOAD = ("loadtest", "--rate", "100", "--wall", "--duration", "600s", "--json")
REBORN = ["STOPPING", "STARTING", "READY"]


@pytest.mark.parametrize("substations", [2, 3])
def test_no_request_of_100_a_second_fails_while_every_service_restarts(cluster: Cluster, substations: int) -> None:
    grid = cluster(substations, topology=SHORT)
    before = pids(grid)
    with typed(grid, *LOAD) as process:
        grid.wait_until(lambda g: placed(g) > 20)
        done = grid.run("restart", "--rolling")
        grid.wait_until(lambda g: placed(g) > 20)  # the request service counts anew since its restart
        assert process.poll() is None, "the load ended before the restart"
        process.send_signal(signal.SIGINT)  # no more EVs; it waits for the last answers
        code, out, err = ended(process)
    assert (done.returncode, code) == (0, 130), done.stderr + err
    result = json.loads(out)
    assert result["sent"] == result["accepted"] > 40, result
    after = pids(grid)
    assert not {name for name in before if before[name] == after[name]}
    assert {row["restarts"] for row in grid.ps()} == {1}
    for number in range(1, substations + 1):
        assert path_of(grid, f"substation{number}")[2:] == REBORN


def test_no_client_without_keep_alive_fails_either(cluster: Cluster) -> None:
    grid = cluster(2, topology=SHORT)
    with traffic(grid, clients=3) as result:
        grid.wait_until(placed_more(result, 20))
        done = grid.run("restart", "--rolling")
        grid.wait_until(placed_more(result, 20))
    assert done.returncode == 0, done.stderr
    assert set(result.statuses) == {202}, (result.statuses, result.refusals[:3])


def test_one_after_another_and_with_drain_each_is_empty_first(cluster: Cluster) -> None:
    grid = cluster(2, topology=LONG)
    assert [grid.charge(f"EV{number}")[0] for number in range(2)] == [202, 202]
    with typed(grid, "restart", "--rolling", "--drain", "--drain-timeout", "600", "substation*") as process:
        for number in (1, 2):
            name = f"substation{number}"
            grid.wait_until(in_state(name, "DRAINING"))
            assert sessions(grid, name) == 1
            end_all(grid, name)
        code, _, err = ended(process)
    assert code == 0, err
    order = [(event["name"], event["to"]) for event in events(grid)][-8:]
    expected = ["DRAINING", *REBORN]
    assert order == [(name, state) for name in ("substation1", "substation2") for state in expected]


@pytest.mark.parametrize("patience_s", ["0", "0.4"])
def test_too_short_a_drain_timeout_loses_no_session_and_nothing_hangs(cluster: Cluster, patience_s: str) -> None:
    grid = cluster(2, topology=LONG)
    assert [grid.charge(f"EV{number}")[0] for number in range(4)] == [202] * 4
    done = grid.run("restart", "--rolling", "--drain", "--drain-timeout", patience_s)
    assert done.returncode == 0, done.stderr
    assert set(states(grid).values()) == {"READY"}
    assert sum(sessions(grid, name) for name in ("substation1", "substation2")) == 4
    assert "DRAINING" in path_of(grid, "substation1")


def test_who_is_waited_for_is_named_with_its_sessions(cluster: Cluster) -> None:
    grid = cluster(1, topology=LONG)
    assert grid.charge("EV1")[0] == 202
    done = grid.run("restart", "--drain", "--drain-timeout", "1.6", "substation1")
    assert done.returncode == 0, done.stderr
    assert "waiting for substation1 (1 session charging, at most " in done.stderr


def test_a_restart_of_all_at_once_needs_no_drain_and_keeps_every_session(cluster: Cluster) -> None:
    grid = cluster(2, topology=LONG)
    before = pids(grid)
    assert grid.charge("EV1", request_id="r1")[0] == 202
    charging = [grid.request("GET", "/sessions/r1", process=f"substation{number}")[1] for number in (1, 2)]
    assert grid.run("restart").returncode == 0
    assert [grid.request("GET", "/sessions/r1", process=f"substation{n}")[1].get("ends_s") for n in (1, 2)] == [
        pytest.approx(record["ends_s"]) if "ends_s" in record else None for record in charging
    ]
    assert not {name for name, pid in pids(grid).items() if before[name] == pid}
    assert "DRAINING" not in path_of(grid, "substation1")
    assert grid.charge("EV2")[0] == 202
