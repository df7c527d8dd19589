"""A real cluster whose services are sleepers: overlapping verbs, failed births, and what every verb refuses."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from config.errors import GridError, InUse, Invalid, NotReady
from config.plan import ProcessSpec
from gridctl.supervisor.happenings import State
from gridctl.supervisor.lastwords import last_lines
from gridctl.supervisor.lifecycle import Life
from gridctl.supervisor.member import Member
from gridctl.supervisor.rates import Meter
from gridctl.supervisor.snapshot import Snapshots, health_word, loading_pct, overall
from tests.gridctl.supervisor.worlds import world

TWO = {"substations": 2}


async def test_it_comes_up_scales_and_goes_down(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        lines = await one.apply(TWO)
        assert {line["state"] for line in lines if "state" in line} <= {State.STARTING, State.READY}
        await one.operate("scale", substations=3)
        assert one.cradle.born[-1] == "substation3"
        await one.operate("scale", substations=1)
        assert list(one.cluster.members) == ["substation1", "balancer", "charge-request"]
        cluster = one.cluster
    assert cluster.finished.is_set()
    assert {member.state for member in cluster.members.values()} == {State.STOPPED}


async def test_a_birth_that_fails_is_tried_again_then_fatal_and_started_when_it_can(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        one.cradle.failing.add("substation2")
        with pytest.raises(NotReady, match="substation2: never came up in 5 starts; the last: substation2: no room"):
            await one.apply(TWO)
        assert (one.state("substation1"), one.state("substation2")) == ("READY", "FATAL")
        one.cradle.failing.clear()
        await one.operate("start", names=["substation2"])
        assert one.state("substation2") == "READY"


async def test_who_does_not_get_healthy_is_waited_for_as_long_as_said(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        one.sick.add("substation2")
        with pytest.raises(NotReady, match=r"not ready within 0\.2 s: substation2"):
            await one.apply(TWO, wait_timeout_s=0.2)


async def test_a_stop_before_the_birth_ends_the_newborn(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        one.cradle.held.clear()
        starting = asyncio.ensure_future(one.apply(TWO))
        await one.until(lambda: len(one.cluster.members) == 4)
        stopping = asyncio.ensure_future(one.operate("stop", names=["substation1"]))
        await one.until(lambda: one.state("substation1") == "STOPPING")
        one.cradle.held.set()
        await stopping
        with pytest.raises(NotReady, match="stopped meanwhile by another command: substation1"):
            await starting
        assert one.state("substation1") == "STOPPED"


async def test_edits_before_the_last_one_is_through_end_as_the_last_says(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        await one.apply({"substations": [{"name": "a"}]})
        member, port = one.cluster.members["a"], one.cluster.members["a"].held
        assert port is not None
        for edited in ({"max_sessions": 3}, {"port": 19_431}, {"port": 19_432}, {"port": 19_432, "max_sessions": 4}):
            await one.apply({"substations": [{"name": "a", **edited}]}, wait=False)
        assert member.next_url == "http://127.0.0.1:19432"
        await one.until(lambda: member.successor is None and one.state("a") == "READY")
        assert (member.url, member.spec.settings) == (member.next_url, one.cluster.specs()[0].settings)


async def test_a_name_may_become_another_kind_of_service_and_back(tmp_path: Path) -> None:
    ours: dict[str, Any] = {"substations": [{"name": "a"}]}
    other: dict[str, Any] = {"substations": [{"name": "a", "url": "http://127.0.0.1:9"}]}
    async with world(tmp_path) as one:
        await one.apply(ours)
        await one.apply(other)
        assert one.cluster.members["a"].external
        await one.apply(ours, wait=False)
        await one.apply(other, wait=False)
        await one.apply(ours)
        assert one.cluster.members["a"].held is not None
        await one.operate("stop", names=["a"])
        await one.apply(other)
        assert one.state("a") == "READY"
        with pytest.raises(Invalid, match="external, not ours to control"):
            await one.operate("stop", names=["a"])


async def test_who_leaves_may_be_taken_back_changed(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        await one.apply(TWO)
        await one.apply({"substations": 1}, wait=False)
        await one.apply({"substations": [{"name": "substation1"}, {"name": "substation2", "max_sessions": 3}]})
        settings = one.cluster.members["substation2"].spec.settings
        assert getattr(settings, "max_sessions", None) == 3
        assert one.cradle.born.count("substation2") == 2


async def test_what_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        with pytest.raises(GridError, match="nothing runs yet"):
            await one.operate("scale", substations=1)
        await one.apply(TWO)
        with pytest.raises(InUse, match="started from test; this is other"):
            await one.apply(TWO, source="other")
        with pytest.raises(Invalid, match="no process named"):
            await one.operate("kill")
        with pytest.raises(Invalid, match="unknown signal"):
            await one.operate("kill", names=["balancer"], signal="99")
        await one.operate("stop", names=["balancer"])
        assert "has no process (STOPPED)" in (await one.operate("kill", names=["balancer"]))[0]["message"]
        with pytest.raises(GridError, match="balancer is STOPPED"):
            await one.operate("pause", names=["balancer"])


async def test_a_state_folder_that_cannot_be_written_stops_no_cluster(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        await one.apply(TWO)
        (one.cluster.paths.targets.parent / "targets.json").unlink()
        (one.cluster.paths.targets.parent / "targets.json").mkdir()
        one.cluster.paths.roster.unlink(missing_ok=True)
        one.cluster.paths.roster.mkdir()
        await one.operate("scale", substations=3)
        await one.operate("kill", names=["substation1"])
        member = one.cluster.members["substation1"]
        await one.until(lambda: one.state("substation1") == "READY" and member.life.restarts > 0)
        assert one.state("substation3") == "READY"


async def test_a_record_that_cannot_be_written_leaves_all_as_it_was(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        await one.apply(TWO)
        one.cluster.paths.record.unlink()
        one.cluster.paths.record.mkdir()
        with pytest.raises(OSError, match=r"cluster\.json"):
            await one.operate("scale", substations=3)
        assert len(one.cluster.members) == 4


async def test_the_snapshot_of_a_mixed_grid(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        await one.apply({"substations": [{"name": "a"}, {"name": "other", "url": "http://127.0.0.1:9"}]})
        await one.operate("stop", names=["balancer"])
        snapshots = Snapshots(one.cluster)
        snapshots.take()
        document = snapshots.take()
        rows = {row["name"]: row for row in document["processes"]}
        assert rows["balancer"]["pid"] is None
        assert rows["other"]["url"] == "http://127.0.0.1:9"
        assert rows["a"]["rss_bytes"] > 0
        assert document["cluster"]["state"] == "UNHEALTHY", "nobody can be placed"
        assert document["substations"][1]["external"] is True


async def test_workers_come_and_go_on_one_port_and_totals_go_on(tmp_path: Path) -> None:
    def front(number: int, **more: Any) -> dict[str, Any]:
        return {"substations": 1, "request_service": {"workers": number, **more}}

    async with world(tmp_path) as one:
        await one.apply(front(1))
        first = one.cluster.members["charge-request"]
        assert first.held is not None
        port, sock = first.held.port, first.held.sock
        assert first.own_url == first.url
        await one.apply(front(3))
        workers = list(one.cluster.by_role("charge-request"))
        assert [member.name for member in workers] == ["charge-request", "charge-request2", "charge-request3"]
        assert {member.held.sock for member in workers if member.held} == {sock}, "one socket, which was never given up"
        assert len({member.own_url for member in workers} | {first.url}) == 4
        listed = json.loads(one.cluster.paths.targets.read_text())
        labels = [group["labels"] for group in listed if group["labels"]["job"] == "charge-request"]
        assert [each["worker"] for each in labels] == [member.name for member in workers]
        first.arrivals.read(2, 0.0)
        for member, status in zip(workers, (202, 503, 202), strict=True):
            member.answers[status] = Meter(total=5)
        await one.operate("restart", names=["charge-request*"], rolling=True)
        await one.apply(front(2))
        assert "charge-request3" not in one.cluster.members
        grid = Snapshots(one.cluster).take()["grid"]
        assert (grid["accepted_total"], grid["rejected_total"]) == (10, 5)
        await one.operate("stop", names=["charge-request"])
        socket.create_connection(("127.0.0.1", port), 5).close()
        await one.operate("stop", names=["charge-request2"])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)
        await one.operate("start")
        with socket.socket() as scout:
            scout.bind(("127.0.0.1", 0))
            other = scout.getsockname()[1]
        await one.apply(front(2, port=other))
        assert {member.url for member in one.cluster.by_role("charge-request")} == {f"http://127.0.0.1:{other}"}
        socket.create_connection(("127.0.0.1", other), 5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)
        await one.apply(front(1, port=other))
        assert first.own_url == first.url == f"http://127.0.0.1:{other}"


def members(role: str, *states: State) -> list[Member]:
    spec = ProcessSpec(role, role, "127.0.0.1", 0, False, None)
    return [Member(spec, Life(state=state)) for state in states]


def test_the_words_for_a_grid() -> None:
    assert overall(members("substation", State.READY, State.FATAL, State.DRAINING)) is State.FATAL
    assert overall(members("substation", State.READY, State.STOPPED)) is State.READY
    assert overall(members("balancer", State.STOPPED)) is State.UNHEALTHY, "no EV can be placed"
    assert [health_word(0, [101.0]), health_word(80, [80.0]), health_word(10, [])] == ["overloaded", "strained", "ok"]
    assert overall(members("charge-request", State.STOPPED, State.READY)) is State.READY, "another worker answers"
    assert overall(members("charge-request", State.STOPPED, State.STOPPED)) is State.UNHEALTHY, "nobody answers"
    rows = [{"max_sessions": 10, "sessions": 1, "load_kw": 60, "capacity_kw": 100}]
    assert loading_pct(rows) == 60.0
    assert loading_pct([*rows, {"max_sessions": 10, "sessions": 3, "load_kw": 1, "capacity_kw": None}]) == 20.0
    assert loading_pct([]) == 0.0


def test_last_lines_of_no_log_and_of_an_empty_one(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none.log") == "  (no log: No such file or directory)"
    (tmp_path / "empty.log").touch()
    assert last_lines(tmp_path / "empty.log") == "  (the log is empty)"
