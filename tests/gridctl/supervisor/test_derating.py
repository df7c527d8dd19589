"""The verb `derate`: what substations are told, what is remembered, and what is refused."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from config.errors import Invalid
from config.plan import expand
from config.topology import Topology
from gridctl.state import ClusterPaths
from gridctl.supervisor.cluster import Cluster
from gridctl.supervisor.derating import remembered
from gridctl.supervisor.forking import Zygote
from gridctl.supervisor.journal import Journal
from gridctl.supervisor.member import Member
from gridctl.supervisor.verbs import VERBS

TOPOLOGY = {"substations": [{"name": "a1", "capacity_kw": 74}, {"name": "a2"}, {"name": "e", "url": "http://h:1"}]}


async def _unwatched(_: Member) -> None: ...


async def _nobody() -> set[str]:
    return set()


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[tuple[Cluster, dict[str, socket.socket]]]:
    """A cluster of which nothing runs, and the services' ends of its lifelines."""
    paths = ClusterPaths(tmp_path, "grid")
    cluster = Cluster(
        paths, Journal(tmp_path / "events.jsonl"), Zygote(asyncio.get_running_loop()), _unwatched, _nobody
    )
    ends = {}
    for spec in expand(Topology.model_validate(TOPOLOGY)):
        member = cluster.add(spec, None)
        member.lifeline, ends[spec.name] = socket.socketpair()
        ends[spec.name].setblocking(False)
    yield cluster, ends
    cluster.close()
    cluster.journal.close()
    for end in ends.values():
        end.close()


def _heard(end: socket.socket) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in end.recv(4096).splitlines()]
    except BlockingIOError:
        return []


async def _derate(cluster: Cluster, *names: str, **limits: Any) -> list[str]:
    return [line["message"] async for line in VERBS["derate"](cluster, {"names": list(names), **limits})]


async def test_who_is_named_is_told_and_it_is_remembered_until_it_is_lifted(
    told: tuple[Cluster, dict[str, socket.socket]],
) -> None:
    cluster, ends = told
    assert await _derate(cluster, "a*", capacity_kw=40.5, max_sessions=None) == [
        "a1 admits up to 10 sessions, 40.5 kW (its topology: 10 sessions, 74 kW); what charges goes on",
        "a2 admits up to 10 sessions, 40.5 kW (its topology: 10 sessions); what charges goes on",
    ]
    assert {name: _heard(end) for name, end in ends.items() if name != "e"} == {
        "a1": [{"do": "derate", "capacity_kw": 40.5}],
        "a2": [{"do": "derate", "capacity_kw": 40.5}],
        "balancer": [],
        "charge-request": [],
    }
    assert remembered(cluster.paths.deratings) == {"a1": {"capacity_kw": 40.5}, "a2": {"capacity_kw": 40.5}}
    assert await _derate(cluster, "a1") == ["a1 has its topology's limits again: 10 sessions, 74 kW"]
    assert _heard(ends["a1"]) == [{"do": "derate"}]
    assert remembered(cluster.paths.deratings) == cluster.deratings == {"a2": {"capacity_kw": 40.5}}


@pytest.mark.parametrize(
    ("names", "limits"),
    [
        ((), {"max_sessions": 1}),
        (("e",), {"max_sessions": 1}),
        (("balancer",), {"max_sessions": 1}),
        (("a1",), {"capacity_kw": 74.1}),
        (("a1",), {"capacity_kw": 0}),
        (("a2", "a1"), {"capacity_kw": 100}),
        (("a1",), {"max_sessions": 11}),
        (("a1",), {"max_sessions": 0}),
    ],
)
async def test_what_cannot_be_is_refused_and_nobody_is_told(
    told: tuple[Cluster, dict[str, socket.socket]], names: tuple[str, ...], limits: dict[str, Any]
) -> None:
    cluster, ends = told
    with pytest.raises(Invalid):
        await _derate(cluster, *names, **limits)
    assert [_heard(end) for end in ends.values()] == [[]] * len(ends)
    assert not cluster.paths.deratings.exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}'])
def test_what_cannot_be_read_is_no_derating(tmp_path: Path, text: str) -> None:
    (tmp_path / "d.json").write_text(text)
    assert remembered(tmp_path / "d.json") == {}
    assert remembered(tmp_path / "none.json") == {}
