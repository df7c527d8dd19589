"""One list: whatever starts or watches a grid says the same of it. Each exporter's files are read back and compared.

What is compared is what `gridctl serve` would run with: the variables in the files, read by `gridctl serve`'s own parser.
Only where somebody is found may differ, and how a journal is called.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping

import pytest
import yaml
from hypothesis import given, settings

from config.errors import Invalid
from config.names import BALANCER, SUBSTATION
from config.topology import Topology
from gridctl.export.compose.render import render as compose
from gridctl.export.compose.swarm import BALANCERS, stacked
from gridctl.export.compose.swarm import render as swarm
from gridctl.export.containers import HOST_GATEWAY, deployment
from gridctl.export.scalable import replicated
from gridctl.serve.settings import LISTENING, SETTINGS, Given, settings_of
from tests.config.test_plan import topologies
from tests.e2e.pods import ANY, pod_names, variables
from tests.gridctl.export.lists import (
    IMAGES,
    LOADER,
    Entry,
    cluster_objects,
    entry,
    launched,
    launched_name,
    own,
    port_of_replicas,
    read,
    ready,
    shipped,
)

KEYS = {setting.variable: setting.key for setting in (*LISTENING, *SETTINGS)}


def served(role: str, environment: Mapping[str, str]) -> tuple[str, Entry]:
    """The name and the entry of what `gridctl serve ROLE` makes of an environment."""
    told = {KEYS[name]: Given(name, text, by_flag=False) for name, text in environment.items() if name in KEYS}
    found, host, port = settings_of(role, told)
    assert host == ANY
    return found.name, entry(role, port, found)


def by_compose(topology: Topology) -> dict[str, Entry]:
    """What `compose export` has Compose start."""
    return started(read(compose(deployment(topology, "city", HOST_GATEWAY), IMAGES))["compose.yaml"], topology)


def by_scalable(topology: Topology) -> dict[str, Entry]:
    """What `compose export --scalable` has Compose start; Invalid where substations are not alike."""
    return started(
        read(compose(replicated(deployment(topology, "city", HOST_GATEWAY)), IMAGES))["compose.yaml"], topology
    )


def by_swarm(topology: Topology) -> dict[str, Entry]:
    """What `compose export --swarm` has Swarm start."""
    return started(read(swarm(stacked(topology, "city"), IMAGES))["stack.yaml"], topology)


def started(text: str, topology: Topology) -> dict[str, Entry]:
    """The services of ours, whose image is, in Compose's format; the k-th replica stands for the k-th substation."""
    found = {}
    for service in yaml.load(text, LOADER)["services"].values():
        image = re.fullmatch(r"(?:\$\{REGISTRY:-\})?gridctl-([a-z-]+):1", service["image"])
        if image is None:
            continue
        environment = {key: value.replace("$$", "$") for key, value in service["environment"].items()}
        replicas = service.get("scale", service.get("deploy", {}).get("replicas", 1))
        if "JOURNAL_DIR" not in environment:
            name, one = served(image[1], environment)
            assert replicas == 1
            found[name] = one
        else:
            _, one = served(image[1], {**environment, "NAME": SUBSTATION})
            names = [entry.name for entry in topology.substations if entry.url is None]
            assert replicas == len(names)
            found |= dict.fromkeys(names, one)
    return found


def by_kubernetes(topology: Topology) -> dict[str, Entry]:
    """What `kubernetes export` has a cluster run, every pod by its own variables; replicas by the names that `up` has."""
    objects = cluster_objects(topology)
    workloads = [one for one in objects if one["kind"] in {"StatefulSet", "Deployment"}]
    found = {}
    for workload in workloads:
        container = workload["spec"]["template"]["spec"]["containers"][0]
        for pod in pod_names(workload, objects):
            name, one = served(container["args"][1], variables(container, pod, ANY))
            found[launched_name(name)] = one
    return found


#: What each has start, and the roles of which it makes replicas.
EXPORTERS: dict[str, tuple[Callable[[Topology], dict[str, Entry]], Callable[[Topology], set[str]]]] = {
    "compose": (by_compose, lambda _: set()),
    "scalable": (by_scalable, lambda _: {SUBSTATION}),
    "swarm": (by_swarm, lambda topology: {SUBSTATION} if is_counted(topology) else set()),
    "kubernetes": (by_kubernetes, lambda topology: {BALANCER, SUBSTATION} if is_counted(topology) else {BALANCER}),
}


@pytest.mark.parametrize("exporter", EXPORTERS)
@ready
def test_every_ready_topology_is_the_same_everywhere(exporter: str, name: str) -> None:
    check_same(exporter, shipped(name))


@pytest.mark.parametrize("exporter", EXPORTERS)
@settings(max_examples=25)
@given(topology=topologies())
def test_any_topology_is_the_same_everywhere(exporter: str, topology: Topology) -> None:
    check_same(exporter, topology)


def check_same(exporter: str, topology: Topology) -> None:
    topology = own(topology)
    export, roles_of_replicas = EXPORTERS[exporter]
    planned = launched(topology.with_balancers(BALANCERS) if exporter == "swarm" else topology)
    if exporter == "scalable" and not are_alike(planned):
        with pytest.raises(Invalid, match=r"alike|no substation"):
            export(topology)
        return
    found, replicas = export(topology), roles_of_replicas(topology)
    assert found.keys() == planned.keys()
    for name, one in planned.items():
        port = port_of_replicas(one.role, planned) if one.role in replicas else one.port
        assert (name, found[name]) == (name, dataclasses.replace(one, port=port))


def are_alike(planned: Mapping[str, Entry]) -> bool:
    """Whether there are substations, with the same settings all."""
    settings = [one.settings for one in planned.values() if one.role == SUBSTATION]
    return bool(settings) and all(one == settings[0] for one in settings)


def is_counted(topology: Topology) -> bool:
    """Whether substations have no names but numbers, and are alike."""
    names = [entry.name for entry in topology.substations]
    return names == [f"substation{number}" for number in range(1, len(names) + 1)] and are_alike(launched(topology))
