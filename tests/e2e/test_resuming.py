"""Nothing that was answered 202 is lost: whatever is killed, stopped or taken down, its session charges on."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gridctl.testing import Grid
from services.substation import journal
from tests.e2e.conftest import Cluster, service_of, supervisor_of
from tests.e2e.verbs import declare, path_of, states

pytestmark = pytest.mark.e2e

#: Sessions that outlast every test.
LONG: dict[str, Any] = {"defaults": {"max_sessions": 100_000, "session_s": 100_000}}


def records(grid: Grid) -> dict[str, dict[str, Any]]:
    """Every session of the grid that charges, by request_id, as its substation tells it; each id once."""
    found: dict[str, dict[str, Any]] = {}
    for name in (name for name in states(grid) if name.startswith("substation")):
        for session in grid.request("GET", "/sessions", process=name)[1]["sessions"]:
            assert session["request_id"] not in found, "one request has two sessions"
            found[session["request_id"]] = {**session, "at": name}
    return found


@contextmanager
def clients(grid: Grid, count: int = 3) -> Iterator[set[str]]:
    """Clients that ask one after the other; the ids of the requests that were answered 202."""
    accepted: set[str] = set()
    stop = threading.Event()

    def ask(client: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            request_id = f"c{client}-{number}"
            try:
                status, answer = grid.request("POST", "/charge", {"ev_id": request_id, "request_id": request_id})
            except OSError:
                continue
            if status == 202:
                accepted.add(answer["request_id"])

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield accepted
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def more(accepted: set[str], count: int) -> Any:
    """A predicate: `count` more were accepted than now."""
    before = len(accepted)
    return lambda _: len(accepted) >= before + count


@pytest.mark.parametrize("durability", ["fsync", "process"])
def test_a_substation_killed_under_load_loses_none(cluster: Cluster, durability: str) -> None:
    grid = cluster(2, topology={**LONG, "durability": durability})
    with clients(grid) as accepted:
        for _ in range(3):
            grid.wait_until(more(accepted, 50))
            service_of(grid, "substation1").kill()
            grid.wait_until(lambda g: states(g)["substation1"] == "READY")
    assert accepted <= records(grid).keys()


def test_a_killed_substation_goes_on_with_the_energy_and_the_plan_it_had(cluster: Cluster) -> None:
    grid = cluster(1, topology=LONG, time_scale=10)
    status, first = grid.charge("EV1", request_id="r1", power_kw=36, duration_s=5000)
    assert status == 202
    before = records(grid)["r1"]
    service_of(grid, "substation1").kill()
    grid.wait_until(
        lambda g: states(g)["substation1"] == "READY" and path_of(g, "substation1")[-2:] == ["STARTING", "READY"]
    )
    after = records(grid)["r1"]
    assert after["started_s"] == before["started_s"]
    assert after["ends_s"] == pytest.approx(before["ends_s"], abs=0.01)
    told = grid.request("GET", "/sessions", process="substation1")[1]  # of one instant, however slow everybody is
    (charging,) = told["sessions"]
    assert charging["energy_kwh"] == pytest.approx(36 * 10 * (told["now_s"] - charging["started_s"]) / 3600, abs=0.05)
    status, again = grid.charge("EV1", request_id="r1", power_kw=36, duration_s=5000)
    assert (status, again["routed_to"]) == (202, first["routed_to"])
    assert again["ends_in_s"] < first["ends_in_s"]


def test_a_killed_supervisor_takes_all_along_and_the_next_up_resumes_all(cluster: Cluster) -> None:
    grid = cluster(2, topology=LONG)
    with clients(grid) as accepted:
        grid.wait_until(more(accepted, 50))
        os.kill(supervisor_of(grid).pid, signal.SIGKILL)
        answered = set(accepted)
    assert grid.run("up", "-d", "--file", declare(grid, {**LONG, "substations": 2})).returncode == 0
    assert answered <= accepted <= records(grid).keys()


def test_down_and_up_resumes_all_and_v_forgets_all(cluster: Cluster) -> None:
    grid = cluster(2, topology=LONG)
    file = declare(grid, {**LONG, "substations": 2})
    accepted = {f"r{number}" for number in range(20)}
    assert {grid.charge(f"EV{name}", request_id=name)[0] for name in accepted} == {202}
    before = records(grid)
    assert grid.run("down").returncode == 0
    assert grid.run("up", "-d", "--file", file).returncode == 0
    after = records(grid)
    assert after.keys() == accepted
    assert {name: (it["at"], it["started_s"]) for name, it in after.items()} == {
        name: (it["at"], it["started_s"]) for name, it in before.items()
    }
    assert grid.run("down", "-v").returncode == 2
    assert grid.run("down", "-v", "--yes").returncode == 0
    assert grid.run("up", "-d", "--file", file).returncode == 0
    assert records(grid) == {}


def test_another_time_scale_keeps_what_is_left_of_each_session(cluster: Cluster) -> None:
    grid = cluster(1, topology={**LONG, "time_scale": 100})
    assert grid.charge("EV1", request_id="r1", duration_s=50_000)[0] == 202
    assert grid.run("down").returncode == 0
    file = declare(grid, {**LONG, "substations": 1, "time_scale": 1})
    assert grid.run("up", "-d", "--file", file).returncode == 0
    record = records(grid)["r1"]
    now_s = grid.request("GET", "/sessions", process="substation1")[1]["now_s"]
    passed_s = 100 * (now_s - record["started_s"])  # at most: since the start the scale is 1
    assert 50_000 - passed_s - 100 <= record["ends_s"] - now_s < 50_000


def test_a_derating_cuts_nothing_and_holds_through_crashes_until_it_is_lifted(cluster: Cluster) -> None:
    grid = cluster(
        topology={"substations": [{"name": "substation1", "capacity_kw": 74}], "defaults": {"session_s": 9999}}
    )
    assert {grid.charge(f"EV{number}")[0] for number in range(5)} == {202}
    assert grid.run("derate", "substation1", "--capacity-kw", "100").returncode == 2
    done = grid.run("derate", "substation*", "--capacity-kw", "20")
    assert (done.returncode, "what charges goes on" in done.stderr) == (0, True)
    kills: list[Callable[[Grid], object]] = [
        lambda _: None,
        lambda g: service_of(g, "substation1").kill(),
        _supervisor_again,
    ]
    for kill in kills:
        kill(grid)
        grid.wait_until(lambda g: g.request("GET", "/health", process="substation1")[1]["capacity_kw"] == 20)
        assert _late(grid) == 503
        assert len(records(grid)) == 5
    assert grid.run("derate", "substation1").returncode == 0
    assert _late(grid) == 202


def _late(grid: Grid) -> int:
    return grid.request("POST", "/charge", {"ev_id": "late"}, process="charge-request")[0]


def _supervisor_again(grid: Grid) -> None:
    record = json.loads((grid.state_dir / grid.name / "cluster.json").read_text())
    os.kill(record["supervisor_pid"], signal.SIGKILL)
    file = grid.state_dir.parent / "gridctl.yaml"
    assert grid.run("up", "-d", "--file", str(file)).returncode == 0


def test_a_journal_that_cannot_be_read_is_shown_everywhere_and_all_else_runs(cluster: Cluster) -> None:
    grid = cluster(2, topology=LONG)
    file = declare(grid, {**LONG, "substations": 2})
    grid.charge("EV1")
    grid.charge("EV2")
    assert grid.run("down").returncode == 0
    path = grid.state_dir / grid.name / "data" / "substation1.db"
    path.write_bytes(b"nonsense" * 1000)
    done = grid.run("up", "-d", "--file", file)
    assert done.returncode == 4
    assert f"substation1 is up and takes nothing: health 503: {path} is damaged" in done.stderr
    assert states(grid)["substation1"] == "UNHEALTHY"
    assert "damaged" in grid.process("substation1")["reason"]
    answer = grid.request("POST", "/charge", {"ev_id": "EV3"}, process="charge-request")[1]
    assert answer["routed_to"] == "substation2"
    path.rename(path.with_suffix(".away"))
    assert grid.run("restart", "substation1").returncode == 0
    assert states(grid)["substation1"] == "READY"
    assert path.with_suffix(".away").read_bytes() == b"nonsense" * 1000


def test_a_substation_killed_while_it_leaves_comes_back_to_end_its_sessions(cluster: Cluster) -> None:
    grid = cluster(1, topology={"defaults": {"session_s": 20}})  # longer than it takes to begin the drain
    assert grid.charge("EV1", request_id="r1")[0] == 202
    with clients(grid, count=0):
        scaling = threading.Thread(target=grid.run, args=("scale", "substations=0"))
        scaling.start()
        grid.wait_until(lambda g: states(g).get("substation1") == "DRAINING")
        service_of(grid, "substation1").kill()
        scaling.join()
    assert "substation1" not in states(grid)
    (session,) = journal.read(grid.state_dir / grid.name / "data" / "substation1.db").sessions
    assert (session.state, session.ended_s) == ("ended", session.ends_s)
