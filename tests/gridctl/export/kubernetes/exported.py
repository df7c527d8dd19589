"""Exports of some topologies, what is in them, and the schemas that objects are held to. Must not know the tests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from jsonschema import validate as validate_schema  # type: ignore[import-untyped]

from config.loading import parse_topology
from config.shipped import shipped_names, shipped_text
from config.topology import Topology
from gridctl.export.containers import deployment
from gridctl.export.folder import File
from gridctl.export.kubernetes.render import namespace_of, render

Object = dict[str, Any]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
NEWEST = kubernetes_validate.latest_version()
#: Kinds that Prometheus' operator brings, of which Kubernetes itself has no schema.
OPERATOR = json.loads((Path(__file__).parent / "prometheus-operator.schema.json").read_text())
NAMED = "substations: [{name: Harbour.East, capacity_kw: 74}, {name: '1e3', port: 9100}, {name: y}]"
WITH_OTHERS = """\
substations:
  - {name: substation1}
  - {name: other, url: "https://10.1.2.3:7601/$(NAME)"}
  - {name: another, url: "http://other.example:80", load_metric: current_load}
"""
TOPOLOGIES = {
    **{name: shipped_text(name) for name in shipped_names() if name != "external"},
    "named": NAMED,
    "with-others": WITH_OTHERS,
    "several-balancers": "balancer: {replicas: 3, admission: queue, port: 8400}\nrequest_service: {port: 8401}",
    "nobody": "substations: 0",
}


class Export(dict[str, str]):
    """Files by their path."""

    @cached_property
    def parsed(self) -> list[Object]:
        return [one for path, one in objects(self).items() if path != "kustomization.yaml"]


def rendered(topology: Topology, cluster: str = "city") -> Export:
    files: list[File] = list(
        render(deployment(topology, cluster), "registry:5000/gridctl:1", namespace_of(cluster, None))
    )
    return Export((path, content if isinstance(content, str) else content.decode()) for path, content in files)


def exported(name: str) -> Export:
    return rendered(parse_topology(TOPOLOGIES[name], name))


def objects(files: Mapping[str, str]) -> dict[str, Object]:
    """The one object in each file that holds one."""
    found = {}
    for path, content in files.items():
        if path.endswith(".yaml"):
            (found[path],) = yaml.load_all(content, LOADER)
    return found


def of_kind(files: Export, kind: str) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in files.parsed if one["kind"] == kind}


def workloads(files: Export) -> Iterator[Object]:
    yield from of_kind(files, "StatefulSet").values()
    yield from of_kind(files, "Deployment").values()


def pod(workload: Object) -> Object:
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Object) -> Object:
    (found,) = pod(workload)["containers"]
    assert isinstance(found, dict)
    return found


def environment(workload: Object) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "(from the pod)") for entry in container(workload)["env"]}


def validate(one: Object, version: str) -> None:
    """By the schema of that Kubernetes, in which an unknown key is a fault; by that of the operator for what it brings."""
    if one["kind"] == "Kustomization":
        assert one.keys() == {"apiVersion", "kind", "namespace", "resources"}
    elif one["kind"] in OPERATOR:
        validate_schema(one, OPERATOR[one["kind"]])
    else:
        kubernetes_validate.validate(one, version, strict=True)


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return selector.items() <= labels.items()
