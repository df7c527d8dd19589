"""compose.yaml and what stands beside it, as text and as the Compose specification reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from config.errors import Invalid
from config.loading import parse_topology
from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from config.shipped import shipped_names, shipped_text
from config.topology import Topology
from gridctl.export.compose.render import project, render
from gridctl.export.compose.services import GRACE_S, check_interval_s
from gridctl.export.containers import HOST_GATEWAY, Deployment, deployment
from gridctl.export.folder import File
from gridctl.export.image.context import Context
from gridctl.export.scalable import replicated
from tests.config.test_plan import topologies

IMAGES = Context((("Dockerfile", "FROM scratch\n"),), "1.2.3-0123456789ab")


def _deployment(topology: Topology) -> Deployment:
    return deployment(topology, "c", HOST_GATEWAY)


def _files(topology: Topology) -> dict[str, str | bytes]:
    return dict(render(_deployment(topology), IMAGES))


def _compose(topology: Topology) -> dict[str, Any]:
    text = _files(topology)["compose.yaml"]
    document: dict[str, Any] = yaml.safe_load(text)
    return document


@pytest.mark.parametrize("name", shipped_names())
def test_it_keeps_the_compose_specification(shared_data: Path, name: str) -> None:
    specification = Draft7Validator(json.loads((shared_data / "compose-spec.schema.json").read_text()))
    specification.validate(_compose(parse_topology(shipped_text(name), name)))
    assert not specification.is_valid({"services": {"a": {"imagine": "x"}}})


def test_the_keys_that_one_of_the_two_composes_refuses_are_not_there() -> None:
    document = _compose(Topology())
    assert not {"version", "name"} & document.keys()


@given(topology=topologies())
def test_every_container_is_a_service_with_its_environment_and_limits(topology: Topology) -> None:
    services = _compose(topology)["services"]
    wanted = _deployment(topology)
    assert services.keys() == {each.host for each in wanted.containers} | {"prometheus", "grafana"}
    for each in wanted.containers:
        found = services[each.host]
        assert found["environment"].items() >= each.environment.items()
        assert found["mem_limit"] == f"{each.limits.memory_mb}m"
        assert (found["cpus"], found["pids_limit"]) == (each.limits.cpus, each.limits.pids)
        assert found["image"] == f"gridctl-{each.role}:1.2.3-0123456789ab"
        assert found["build"]["target"] == each.role


@given(topology=topologies())
def test_everyone_waits_for_those_he_asks(topology: Topology) -> None:
    services = _compose(topology)["services"]
    hosts = {role: {each.host for each in _deployment(topology).of_role(role)} for role in (SUBSTATION, BALANCER)}
    (front,) = _deployment(topology).of_role(CHARGE_REQUEST)
    assert services[front.host]["depends_on"].keys() == hosts[BALANCER]
    for host in hosts[BALANCER]:
        assert services[host].get("depends_on", {}).keys() == hosts[SUBSTATION]
    waits = [wait for service in services.values() for wait in service.get("depends_on", {}).values()]
    assert all(wait == {"condition": "service_healthy"} for wait in waits)


def test_every_container_may_do_nothing_that_it_need_not() -> None:
    document = _compose(Topology())
    for host, service in document["services"].items():
        assert service["read_only"] is True, host
        assert service["cap_drop"] == ["ALL"], host
        assert service["security_opt"] == ["no-new-privileges:true"], host
        assert service["restart"] == "unless-stopped", host
        assert {"cpus", "mem_limit", "pids_limit", "stop_grace_period", "logging", "healthcheck"} <= service.keys(), (
            host
        )
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), host
    assert [host for host, service in document["services"].items() if "ports" in service] == [
        "charge-request",
        "prometheus",
        "grafana",
    ]


def test_every_journal_is_on_a_volume_that_is_declared() -> None:
    document = _compose(Topology.model_validate({"balancer": {"replicas": 2}}))
    mounted = [mount.split(":") for service in document["services"].values() for mount in service.get("volumes", [])]
    volumes = [name for name, *_ in mounted if not name.startswith("./")]
    assert set(volumes) == document["volumes"].keys()
    assert volumes.count("balancer") == 2
    for name, where, *mode in mounted:
        assert where.startswith("/")
        assert mode == (["ro"] if name.startswith("./") else [])


def test_the_token_is_a_file_of_the_users_and_in_no_other_place() -> None:
    document = _compose(Topology())
    assert document["secrets"] == {"gridctl_token": {"file": "./gridctl-token"}}
    ours = [service for service in document["services"].values() if "secrets" in service]
    assert len(ours) == 5
    for service in ours:
        assert service["environment"]["GRIDCTL_TOKEN_FILE"] == "/run/secrets/gridctl_token"
        assert service["environment"]["OPEN"] == "health,metrics"
    files = _files(Topology())
    assert "gridctl-token" not in files
    assert "openssl rand -hex 32 > gridctl-token" in str(files["README.md"])
    assert len(str(files["README.md"]).splitlines()) <= 10


def test_only_who_asks_substations_is_told_where_this_machine_is() -> None:
    topology = parse_topology(shipped_text("external"), "external")
    services = _compose(topology)["services"]
    told = {host for host, service in services.items() if "extra_hosts" in service}
    assert told == {"balancer", "prometheus"}
    assert services["balancer"]["extra_hosts"] == ["host.docker.internal:host-gateway"]
    (other,) = [
        group for group in json.loads(_files(topology)["targets/targets.json"]) if "external" in group["labels"]
    ]
    assert other["targets"] == ["host.docker.internal:7601"]


@given(topology=topologies())
@settings(max_examples=20)
def test_the_same_topology_gives_the_same_bytes(topology: Topology) -> None:
    again = Topology.model_validate_json(topology.model_dump_json())
    first, second = (list[File](render(_deployment(each), IMAGES)) for each in (topology, again))
    assert first == second


def test_shared_blocks_are_written_once() -> None:
    few, many = (str(_files(Topology.model_validate({"substations": n}))["compose.yaml"]) for n in (1, 100))
    assert few.count("no-new-privileges") == many.count("no-new-privileges") == 2
    assert len(re.findall(r"<<: \*substation\n", many)) == 100
    assert "&id" not in many


def test_replicas_are_one_service_that_is_scaled_and_drained(shared_data: Path) -> None:
    files = dict(render(replicated(_deployment(Topology.model_validate({"substations": 5}))), IMAGES))
    document: dict[str, Any] = yaml.safe_load(files["compose.yaml"])
    Draft7Validator(json.loads((shared_data / "compose-spec.schema.json").read_text())).validate(document)
    services = document["services"]
    assert services.keys() == {"substation", "balancer", "charge-request", "prometheus", "grafana"}
    substation = services["substation"]
    assert (substation["scale"], substation["volumes"]) == (5, ["substations:/var/lib/gridctl"])
    environment = substation["environment"]
    assert (environment["DRAIN_S"], environment["JOURNAL_DIR"]) == ("31", "/var/lib/gridctl")
    assert not {"JOURNAL", "container_name", "ports"} & {*environment, *substation}
    assert int(substation["stop_grace_period"].removesuffix("s")) >= 31 + GRACE_S
    assert services["balancer"]["environment"]["SUBSTATIONS_DNS"] == "substation:9001"
    assert "--scale substation=10" in str(files["README.md"])


def test_prometheus_finds_replicas_through_the_balancers() -> None:
    grid = replicated(_deployment(Topology.model_validate({"balancer": {"replicas": 2}})))
    files = dict(render(grid, IMAGES))
    (scraping,) = yaml.safe_load(files["prometheus/prometheus.yml"])["scrape_configs"]
    assert "authorization" not in scraping, (
        "it is balancers' lists that need a token, not /metrics: external ones would get it"
    )
    assert [each["url"] for each in scraping["http_sd_configs"]] == [
        f"{each.url}/targets" for each in grid.of_role(BALANCER)
    ]
    secrets = {each["authorization"]["credentials_file"] for each in scraping["http_sd_configs"]}
    assert secrets == {"/run/secrets/gridctl_token"}
    assert yaml.safe_load(files["compose.yaml"])["services"]["prometheus"]["secrets"] == ["gridctl_token"]
    jobs = [group["labels"]["job"] for group in json.loads(files["targets/targets.json"])]
    assert jobs == ["balancer", "balancer", "charge-request"]


def test_a_policy_that_is_in_no_image_is_refused() -> None:
    topology = Topology()
    foreign = topology.model_copy(update={"balancer": topology.balancer.model_copy(update={"policy": "of-a-plug-in"})})
    with pytest.raises(Invalid, match="plug-ins"):
        _deployment(foreign)


@pytest.mark.parametrize(
    ("cluster", "name"), [("grid", "grid"), ("My.City", "my-city"), ("-x-", "x"), ("_", "grid"), ("7a", "7a")]
)
def test_the_project_is_called_after_the_cluster(cluster: str, name: str) -> None:
    assert project(cluster) == name


def test_health_checks_of_many_are_rarer() -> None:
    assert [check_interval_s(count) for count in (1, 5, 20, 102, 10_000)] == [2, 2, 5, 26, 30]
