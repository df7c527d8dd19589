"""Ready topologies, what the launcher makes of them, and what is in the files of an export. Must not compare."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from config import plan
from config.loading import parse_topology
from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from config.shipped import shipped_names, shipped_text
from config.topology import Topology
from gridctl.export.containers import deployment
from gridctl.export.folder import File
from gridctl.export.image.context import Context
from gridctl.export.kubernetes.render import render as kubernetes

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Where somebody is found, and what things are called: all that a place may have an own opinion of.
ELSEWHERE = {
    "name",
    "journal",
    "journal_dir",
    "drain_s",
    "targets_file",
    "substations",
    "substations_dns",
    "balancers",
    "peers",
    "url",
    "replicas",
    "cluster",
}
IMAGES = Context((), "1")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One service: its role, its port, and every setting but where others are."""

    role: str
    port: int
    settings: Mapping[str, object]


def entry(role: str, port: int, found: Any) -> Entry:
    return Entry(role, port, {key: value for key, value in dataclasses.asdict(found).items() if key not in ELSEWHERE})


def launched(topology: Topology) -> dict[str, Entry]:
    """What the launcher runs of the grid, by the function that it asks itself; workers on one port as one of so many."""
    specs = [spec for spec in plan.launched(topology, "targets.json", "data") if spec.settings is not None]
    found = {spec.name: entry(spec.role, spec.port, spec.settings) for spec in specs if not spec.worker}
    front, number = found[CHARGE_REQUEST], sum(spec.role == CHARGE_REQUEST for spec in specs)
    return {**found, CHARGE_REQUEST: dataclasses.replace(front, settings={**front.settings, "workers": number})}


def launched_name(name: str) -> str:
    """`substation-3` of replicas is what `up` calls substation3; its balancers are balancer, balancer2, …"""
    numbered = re.fullmatch(rf"({SUBSTATION}|{BALANCER})-([0-9]+)", name)
    if numbered is None:
        return name
    return BALANCER if numbered[1] == BALANCER and numbered[2] == "1" else "".join(numbered.groups())


def cluster_objects(topology: Topology) -> list[dict[str, Any]]:
    files = read(kubernetes(deployment(topology, "city"), "gridctl:1", "gridctl-city"))
    return [yaml.load(text, LOADER) for path, text in files.items() if path.endswith(".yaml")]


def read(files: Iterator[File]) -> dict[str, str]:
    return {path: text if isinstance(text, str) else text.decode() for path, text in files}


def own(topology: Topology) -> Topology:
    """Without substations elsewhere: those on this machine's loopback are out of a cluster's reach."""
    return topology.model_copy(update={"substations": tuple(it for it in topology.substations if it.url is None)})


def shipped(name: str) -> Topology:
    return parse_topology(shipped_text(name), name)


ready = pytest.mark.parametrize("name", shipped_names())


def port_of_replicas(role: str, planned: Mapping[str, Entry]) -> int:
    """Replicas have an address each, and one port: that of the first."""
    return next(one.port for one in planned.values() if one.role == role)
