"""Whoever is exported is watched alike, and may take the same: beside the one list of test_one_list.py."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from config.names import BALANCER, CHARGE_REQUEST, EXTERNAL, SUBSTATION
from config.plan import expand
from config.topology import Topology
from gridctl.export import monitoring
from gridctl.export.compose.render import render as compose
from gridctl.export.compose.swarm import render as swarm
from gridctl.export.compose.swarm import stacked
from gridctl.export.containers import HOST_GATEWAY, deployment
from gridctl.export.folder import File
from gridctl.export.image.context import ROLES
from gridctl.export.monitoring import wanted
from gridctl.export.scalable import replicated
from tests.e2e.pods import ANY, pod_names, variables
from tests.gridctl.export.lists import (
    IMAGES,
    LOADER,
    cluster_objects,
    launched,
    launched_name,
    own,
    port_of_replicas,
    read,
    ready,
    shipped,
)


def targets_of_compose(topology: Topology) -> list[dict[str, Any]]:
    files = read(compose(deployment(topology, "city", HOST_GATEWAY), IMAGES))
    return list(json.loads(files["targets/targets.json"]))


def targets_of_monitoring(topology: Topology) -> list[dict[str, Any]]:
    watched = monitoring.Watched("city", topology, monitoring.wanted("city", topology))
    return list(json.loads(read(monitoring.exported(watched, Path("/watching")))["targets.json"]))


@pytest.mark.parametrize("targets", [targets_of_compose, targets_of_monitoring])
@ready
def test_prometheus_finds_each_where_it_is(targets: Callable[[Topology], list[dict[str, Any]]], name: str) -> None:
    """Each service by its role and name, at its port; also those elsewhere."""
    topology = shipped(name)
    groups = targets(topology)
    found = [
        (group["labels"]["job"], group["labels"].get("substation_id"), int(address.rpartition(":")[2]))
        for group in groups
        for address in group["targets"]
    ]
    planned = [
        (SUBSTATION, spec.name, spec.port or urlsplit(str(spec.url)).port)
        if spec.role in {SUBSTATION, EXTERNAL}
        else (spec.role, None, spec.port)
        for spec in expand(topology)
    ]
    assert Counter(found) == Counter(planned)
    assert {group["labels"]["cluster"] for group in groups} == {"city"}


@ready
def test_a_prometheus_on_this_machine_finds_each_where_it_is(name: str) -> None:
    """`monitoring export`: the wanted ports of what `up` starts, on loopback; and those elsewhere."""
    topology = shipped(name)
    found = {
        group["targets"][0]: (group["labels"]["job"], group["labels"].get("substation_id"))
        for group in wanted("city", topology)
    }
    own = {
        f"127.0.0.1:{spec.port}": (spec.role, spec.name if spec.role == SUBSTATION else None)
        for spec in expand(topology)
        if spec.role != EXTERNAL
    }
    elsewhere = {
        str(spec.url).split("/")[2]: (SUBSTATION, spec.name) for spec in expand(topology) if spec.role == EXTERNAL
    }
    assert found == {**own, **elsewhere}


@ready
def test_prometheus_operator_finds_all_that_prometheus_finds(name: str) -> None:
    """By the ServiceMonitor, or by the ScrapeConfig where it is no pod: with the same labels, at the same path."""
    topology = in_reach(shipped(name))
    listed = {
        Scraped(
            group["labels"]["cluster"],
            group["labels"]["job"],
            group["labels"].get("substation_id"),
            group["labels"].get("__scheme__", "http"),
            group["labels"].get("__metrics_path__", "/metrics"),
            group["targets"][0] if "external" in group["labels"] else None,
        )
        for group in wanted("city", topology)
    }
    assert {*pods_scraped(topology), *others_scraped(topology)} == listed


@dataclasses.dataclass(frozen=True)
class Scraped:
    """What Prometheus asks, and what it calls that; the address of what is elsewhere."""

    cluster: str
    job: str
    substation_id: str | None
    scheme: str
    path: str
    address: str | None


def in_reach(topology: Topology) -> Topology:
    """With what is elsewhere on another machine than this, whose loopback is out of a cluster's reach."""
    substations = [
        it if it.url is None else it.model_copy(update={"url": str(it.url).replace("127.0.0.1", "other.example")})
        for it in topology.substations
    ]
    return topology.model_copy(update={"substations": tuple(substations)})


def pods_scraped(topology: Topology) -> Iterator[Scraped]:
    """By the ServiceMonitor; replicas by the names that `up` has."""
    objects = cluster_objects(topology)
    (monitor,) = [one["spec"] for one in objects if one["kind"] == "ServiceMonitor"]
    (endpoint,) = monitor["endpoints"]
    (cluster,) = [each["replacement"] for each in endpoint["relabelings"] if each["targetLabel"] == "cluster"]
    for workload in (one for one in objects if one["kind"] in {"StatefulSet", "Deployment"}):
        metadata = workload["spec"]["template"]["metadata"]
        role = metadata["labels"][monitor["jobLabel"]]
        for pod in pod_names(workload, objects):
            called = launched_name(metadata.get("annotations", {}).get("gridctl/substation-id", pod))
            substation = called if role == SUBSTATION else None
            yield Scraped(cluster, role, substation, endpoint.get("scheme", "http"), endpoint["path"], None)


def others_scraped(topology: Topology) -> Iterator[Scraped]:
    """By the ScrapeConfig."""
    for one in cluster_objects(topology):
        if one["kind"] == "ScrapeConfig":
            for group in one["spec"]["staticConfigs"]:
                labels = dict(group["labels"])
                names = ("cluster", "job", "substation_id", "__scheme__", "__metrics_path__")
                cluster, job, substation, scheme, path = (labels.pop(name) for name in names)
                yield Scraped(cluster, job, substation, scheme, path, group["targets"][0])
                assert not labels, "nothing that only balancers need"


@ready
def test_prometheus_operator_finds_each_where_it_is(name: str) -> None:
    """Each pod by the headless Service of its role, whose port is the one that the pod listens on."""
    planned = launched(own(shipped(name)))
    objects = cluster_objects(own(shipped(name)))
    services = {one["metadata"]["name"]: one["spec"]["ports"] for one in objects if one["kind"] == "Service"}
    assert services.keys() == {one.role for one in planned.values()} == {SUBSTATION, BALANCER, CHARGE_REQUEST}
    assert {port["targetPort"] for ports in services.values() for port in ports} == {"http"}
    listening = {
        container["args"][1]: {each["containerPort"] for each in container["ports"] if each["name"] == "http"}
        for one in objects
        if one["kind"] in {"StatefulSet", "Deployment"}
        for container in one["spec"]["template"]["spec"]["containers"]
    }
    for role, ports in services.items():
        assert ports[0]["port"] == port_of_replicas(role, planned)
        assert listening[role] <= {one.port for one in planned.values() if one.role == role}


def test_everybodys_prometheus_looks_as_often() -> None:
    """The interval of scrapes, and what alarms make of that of polls."""
    topology = Topology.model_validate(
        {"monitoring": {"scrape_interval_s": 2.5}, "balancer": {"poll_interval_s": 60}, "substations": 2}
    )
    listed = deployment(topology, "city")
    watched = monitoring.Watched("city", topology, [])
    configured = {
        "compose": read(compose(listed, IMAGES)),
        "swarm": read(swarm(stacked(topology, "city"), IMAGES)),
        "monitoring": {
            f"prometheus/{path}": text for path, text in read(monitoring.exported(watched, Path("/"))).items()
        },
    }
    for files in configured.values():
        assert yaml.load(files["prometheus/prometheus.yml"], LOADER)["global"]["scrape_interval"] == "2500ms"
    alarms = {files["prometheus/rules/alerts.yml"] for files in configured.values()}
    objects = {one["kind"]: one for one in cluster_objects(topology)}
    assert objects["ServiceMonitor"]["spec"]["endpoints"][0]["interval"] == "2500ms"
    assert [yaml.load(text, LOADER)["groups"][0] for text in alarms] == [objects["PrometheusRule"]["spec"]["groups"][1]]


@pytest.mark.parametrize(("told", "ports"), [({}, (9090, 3000)), ({"prometheus": 9191, "grafana": 3131}, (9191, 3131))])
@pytest.mark.parametrize("shape", ["named", "scalable"])
def test_prometheus_and_grafana_are_where_the_topology_wants_them(
    shape: str, told: dict[str, int], ports: tuple[int, int]
) -> None:
    """Published by Compose and named in its README; asked and started by what `monitoring export` writes."""
    topology = Topology.model_validate({"monitoring": {f"{name}_port": port for name, port in told.items()}})
    listed = deployment(topology, "city", HOST_GATEWAY)
    files = read(compose(replicated(listed) if shape == "scalable" else listed, IMAGES))
    services = yaml.load(files["compose.yaml"], LOADER)["services"]
    variables_set = dict(line.split("=", 1) for line in files[".env"].splitlines() if "=" in line and line[0] != "#")
    for name, port, inside in zip(("prometheus", "grafana"), ports, (9090, 3000), strict=True):
        assert services[name]["ports"] == [f"127.0.0.1:${{{name.upper()}_PORT:-{port}}}:{inside}"]
        assert variables_set[f"{name.upper()}_PORT"] == str(port)
        assert f"{name.capitalize()}: http://127.0.0.1:{port}" in files["README.md"]
    beside = read(monitoring.exported(monitoring.Watched("city", topology, []), Path("/")))
    source = yaml.load(beside["grafana/provisioning/datasources/gridctl.yaml"], LOADER)["datasources"][0]
    assert source["url"] == f"http://127.0.0.1:{ports[0]}"
    assert f"--web.listen-address=127.0.0.1:{ports[0]}\n" in beside["README.md"]
    assert f"GF_SERVER_HTTP_PORT={ports[1]} " in beside["README.md"]
    within = yaml.load(files["grafana/provisioning/datasources/gridctl.yaml"], LOADER)["datasources"][0]
    assert within["url"] == "http://prometheus:9090"  # between containers nothing is published


@ready
def test_containers_and_pods_may_take_the_same(name: str) -> None:
    """CPUs and memory (in MiB), by name of the service."""
    topology = own(shipped(name))
    listed = deployment(topology, "city")
    planned = {each.name: (each.limits.cpus, each.limits.memory_mb) for each in listed.containers}
    assert {each["environment"]["NAME"]: taken(each) for each in composed(compose(listed, IMAGES))} == planned
    by_role = {role: {planned[each.name] for each in listed.of_role(role)} for role in ROLES}
    for service in composed(swarm(stacked(topology, "city"), IMAGES)):
        assert taken(service) in by_role[service["image"].split("gridctl-")[1].split(":")[0]]
    objects = cluster_objects(topology)
    for workload in (one for one in objects if one["kind"] in {"StatefulSet", "Deployment"}):
        container = workload["spec"]["template"]["spec"]["containers"][0]
        for pod in pod_names(workload, objects):
            limits = container["resources"]["limits"]
            found = (float(limits["cpu"]), int(limits["memory"].removesuffix("Mi")))
            assert found == planned[launched_name(variables(container, pod, ANY)["NAME"])]


def composed(files: Iterator[File]) -> list[dict[str, Any]]:
    """Our own services of a compose.yaml or stack.yaml."""
    (text,) = [text for path, text in read(files).items() if path in {"compose.yaml", "stack.yaml"}]
    services = yaml.load(text, LOADER)["services"].values()
    return [service for service in services if "gridctl-" in service["image"]]


def taken(service: Mapping[str, Any]) -> tuple[float, int]:
    """What a service of Compose or Swarm may take: CPUs and MiB, for Compose's `m` and Swarm's `M` are MiB."""
    limits = service.get("deploy", {}).get("resources", {}).get("limits")
    cpus, memory = (limits["cpus"], limits["memory"]) if limits else (service["cpus"], service["mem_limit"])
    return float(cpus), int(memory.rstrip("mM"))
