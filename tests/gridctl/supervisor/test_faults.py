"""The verb `faults`: what services are told over their lifelines, and what nobody is told."""

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
from gridctl.supervisor.forking import Zygote
from gridctl.supervisor.journal import Journal
from gridctl.supervisor.member import Member
from gridctl.supervisor.verbs import VERBS


async def _unwatched(_: Member) -> None: ...


async def _nobody() -> set[str]:
    return set()


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[tuple[Cluster, dict[str, socket.socket]]]:
    """A cluster of which nothing runs, and the services' ends of its lifelines."""
    zygote = Zygote(asyncio.get_running_loop())
    cluster = Cluster(ClusterPaths(tmp_path, "grid"), Journal(tmp_path / "events.jsonl"), zygote, _unwatched, _nobody)
    ends = {}
    external = {"name": "other", "url": "http://127.0.0.1:7601"}
    topology = Topology.model_validate({"substations": [{"name": "substation1"}, {"name": "substation2"}, external]})
    for spec in expand(topology):
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


async def test_the_named_ones_are_told_and_no_other(told: tuple[Cluster, dict[str, socket.socket]]) -> None:
    cluster, ends = told
    args = {"verb": "faults", "names": ["substation*"], "drop_pct": 2, "delay_s": None, "for_s": 5}
    lines = [line async for line in VERBS["faults"](cluster, args)]
    assert [line["name"] for line in lines] == ["substation1", "substation2"]
    order = {"do": "faults", "drop_pct": 2.0, "for_s": 5.0}
    heard = {name: _heard(end) for name, end in ends.items()}
    assert heard == {name: [order] if name.startswith("substation") else [] for name in ends}


@pytest.mark.parametrize(
    "args",
    [
        {"names": ["balancer"]},
        {"names": ["balancer"], "drop_pct": 120},
        {"drop_pct": 2},
        {"names": ["nobody"], "drop_pct": 2},
        {"names": ["other"], "drop_pct": 2},
    ],
)
async def test_what_cannot_be_is_refused_and_nobody_is_told(
    told: tuple[Cluster, dict[str, socket.socket]], args: dict[str, Any]
) -> None:
    cluster, ends = told
    with pytest.raises(Invalid):
        _ = [line async for line in VERBS["faults"](cluster, args)]
    assert not any(_heard(end) for end in ends.values())
