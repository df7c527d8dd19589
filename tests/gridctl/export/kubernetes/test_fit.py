"""Whether all parts of the export for Kubernetes fit each other, whatever is declared."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings

from config.topology import Topology
from tests.config.test_plan import topologies
from tests.gridctl.export.kubernetes.exported import (
    TOPOLOGIES,
    Export,
    Object,
    container,
    environment,
    exported,
    objects,
    of_kind,
    pod,
    rendered,
    selects,
    workloads,
)

#: What Kubernetes asks of most names (RFC 1123).
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@settings(max_examples=25)
@given(topology=topologies())
def test_whatever_is_declared_the_parts_fit_each_other(topology: Topology) -> None:
    outside = [entry for entry in topology.substations if entry.url is None]
    check_fit(rendered(topology.model_copy(update={"substations": tuple(outside)})))


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_parts_fit_each_other(name: str) -> None:
    check_fit(exported(name))


def check_fit(files: Export) -> None:
    check_names(files)
    check_selectors(files)
    check_references(files)
    for workload in workloads(files):
        check_restricted(workload)
        check_probes(workload)


def check_names(files: Export) -> None:
    found = objects(files)
    kustomization = found.pop("kustomization.yaml")
    assert sorted(kustomization["resources"]) == sorted(found)
    keys = [(one["kind"], one["metadata"]["name"]) for one in found.values()]
    assert len(set(keys)) == len(keys)
    for one in found.values():
        assert DNS_LABEL.fullmatch(one["metadata"]["name"])
        assert one["metadata"].get("namespace", "gridctl-city") == "gridctl-city"
        assert all(value and len(value) <= 63 for value in one["metadata"]["labels"].values())
    for name in of_kind(files, "StatefulSet"):
        assert len(name) <= 52  # Kubernetes puts eleven characters behind it, into a label


def check_selectors(files: Export) -> None:
    """Each workload selects its own pods and nobody else's; a Service and a budget those of one role."""
    pods = {one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one in workloads(files)}
    for one in workloads(files):
        selector = one["spec"]["selector"]["matchLabels"]
        assert [name for name, labels in pods.items() if selects(selector, labels)] == [one["metadata"]["name"]]
    for kind in ("Service", "PodDisruptionBudget"):
        for role, one in of_kind(files, kind).items():
            selector = one["spec"]["selector"]
            selector = selector.get("matchLabels", selector)
            chosen = {labels["app.kubernetes.io/component"] for labels in pods.values() if selects(selector, labels)}
            assert chosen == {role}
    (monitor,) = of_kind(files, "ServiceMonitor").values()
    services = of_kind(files, "Service")
    watched = monitor["spec"]["selector"]["matchLabels"]
    assert [name for name, one in services.items() if selects(watched, one["metadata"]["labels"])] == [*services]
    assert monitor["spec"]["endpoints"][0]["port"] in {
        p["name"] for one in services.values() for p in one["spec"]["ports"]
    }


def check_references(files: Export) -> None:
    """Whatever is named is there, or is the Secret that the user makes."""
    services, maps = of_kind(files, "Service"), of_kind(files, "ConfigMap")
    for one in workloads(files):
        ports = {port["name"]: port["containerPort"] for port in container(one)["ports"]}
        assert str(ports["http"]) == environment(one)["PORT"]
        claims = {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", ())}
        volumes = {volume["name"]: volume for volume in pod(one)["volumes"]}
        assert {mount["name"] for mount in container(one)["volumeMounts"]} == claims | volumes.keys()
        assert volumes["token"]["secret"]["secretName"] == "gridctl-token"
        if "targets" in volumes:
            assert volumes["targets"]["configMap"]["name"] in maps
        if one["kind"] == "StatefulSet":
            assert services[one["spec"]["serviceName"]]["spec"]["clusterIP"] == "None"
    for scaler in of_kind(files, "HorizontalPodAutoscaler").values():
        target = scaler["spec"]["scaleTargetRef"]
        assert target["name"] in of_kind(files, target["kind"])
        assert "replicas" not in of_kind(files, target["kind"])[target["name"]]["spec"]
    assert not of_kind(files, "Secret")


def check_restricted(workload: Object) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and no way to write or to ask."""
    spec, inside = pod(workload), container(workload)["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inside == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert {key for volume in spec["volumes"] for key in volume if key != "name"} <= {"emptyDir", "secret", "configMap"}
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
    resources = container(workload)["resources"]
    assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}


def check_probes(workload: Object) -> None:
    """A service that cannot do its work is not ready; only one that answers nothing is killed."""
    probes = {key: container(workload)[key]["httpGet"] for key in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in probes.values()} == {"http"}
    paths = {key: probe["path"] for key, probe in probes.items()}
    assert paths == {
        "startupProbe": "/health?live",
        "livenessProbe": "/health?live",
        "readinessProbe": "/health",
    }
