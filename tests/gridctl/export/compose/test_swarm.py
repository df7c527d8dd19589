"""stack.yaml, as Swarm reads it."""

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
from config.shipped import shipped_text
from config.topology import Topology
from gridctl.export.compose.swarm import BALANCERS, render, stacked
from gridctl.export.containers import HOST_GATEWAY, deployment
from gridctl.export.image.context import Context
from tests.config.test_plan import topologies

IMAGES = Context((("Dockerfile", "FROM scratch\n"),), "1.2.3-0123456789ab")
#: What `docker stack deploy` leaves out or refuses.
NOT_OF_STACKS = {"build", "restart", "depends_on", "mem_limit", "cpus", "pids_limit", "security_opt", "tmpfs", "scale"}


def _files(topology: Topology) -> dict[str, str | bytes]:
    return dict(render(deployment(topology.with_balancers(BALANCERS), "Town", HOST_GATEWAY), IMAGES))


def _stack(topology: Topology) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(_files(topology)["stack.yaml"])
    return document


def _mixed() -> Topology:
    return parse_topology(shipped_text("mixed"), "mixed")


@pytest.mark.parametrize("topology", [Topology(), _mixed()], ids=["counted", "named"])
def test_it_keeps_the_compose_specification(shared_data: Path, topology: Topology) -> None:
    specification = Draft7Validator(json.loads((shared_data / "compose-spec.schema.json").read_text()))
    text = str(_files(topology)["stack.yaml"])
    specification.validate(yaml.safe_load(re.sub(r"\$\{\w+:-(.*?)\}", r"\1", text)))  # as with no variable set
    assert _stack(topology)["version"] == "3.8"


@given(topology=topologies())
@settings(max_examples=30)
def test_no_key_is_left_out_in_silence_and_every_config_is_a_file(topology: Topology) -> None:
    files = _files(topology)
    stack = yaml.safe_load(files["stack.yaml"])
    for service in stack["services"].values():
        assert not NOT_OF_STACKS & service.keys()
        assert {"image", "deploy", "healthcheck", "read_only"} <= service.keys()
        assert {each["source"] for each in service.get("configs", [])} <= stack["configs"].keys()
    for config in stack["configs"].values():
        assert config["file"].removeprefix("./") in files
        assert len(config["name"]) <= 64
    used = {each["source"] for service in stack["services"].values() for each in service.get("configs", [])}
    assert used == stack["configs"].keys() - ({"targets-targets-json"} - used)


def test_substations_that_are_counted_are_replicas_found_by_their_tasks() -> None:
    services = _stack(Topology.model_validate({"substations": 7}))["services"]
    assert services.keys() == {"substation", "balancer", "balancer2", "charge-request", "prometheus", "grafana"}
    assert services["substation"]["deploy"]["replicas"] == 7
    assert services["substation"]["environment"]["JOURNAL_DIR"] == "/var/lib/gridctl"
    assert services["substation"]["environment"]["NAME"] == "substation-{{.Node.Hostname}}"
    assert services["balancer"]["environment"]["SUBSTATIONS_DNS"] == "tasks.substation:9001"


def test_substations_that_have_names_are_services_in_a_list() -> None:
    services = _stack(_mixed())["services"]
    assert {"motorway", "depot"} <= services.keys()
    assert all(services[name]["deploy"]["replicas"] == 1 for name in ("motorway", "depot", "balancer"))
    assert services["balancer"]["environment"]["TARGETS_FILE"] == "/etc/gridctl/targets.json"
    assert {"source": "targets-targets-json", "target": "/etc/gridctl/targets.json"} in services["balancer"]["configs"]


def test_who_keeps_a_journal_is_replaced_and_never_doubled() -> None:
    services = _stack(Topology())["services"]
    for name in ("substation", "balancer", "balancer2"):
        assert services[name]["deploy"]["update_config"]["order"] == "stop-first"
        assert services[name]["deploy"]["endpoint_mode"] == "dnsrr"
        assert any(str(mount).endswith(":/var/lib/gridctl") for mount in services[name]["volumes"])
    grace_s = int(services["substation"]["stop_grace_period"].removesuffix("s"))
    assert grace_s > float(services["substation"]["environment"]["DRAIN_S"])


@pytest.mark.parametrize(
    ("said", "balancers"),
    [
        ({}, ["balancer", "balancer2"]),
        ({"policy": "random"}, ["balancer", "balancer2"]),
        ({"replicas": 1}, ["balancer"]),
        ({"replicas": 3}, ["balancer", "balancer2", "balancer3"]),
    ],
)
def test_a_balancer_is_not_alone_unless_the_topology_says_so(said: dict[str, Any], balancers: list[str]) -> None:
    """Those who ask, those who watch and the README know of each."""
    files = dict(render(stacked(Topology.model_validate({"balancer": said}), "Town"), IMAGES))
    services = yaml.safe_load(files["stack.yaml"])["services"]
    assert [name for name in services if name.startswith("balancer")] == balancers
    urls = ",".join(f"http://{name}:{8081 + number}" for number, name in enumerate(balancers))
    assert services["charge-request"]["environment"]["BALANCERS"] == urls
    watched = json.loads(str(files["targets/targets.json"]))
    targets = [target for each in watched if each["labels"]["job"] == "balancer" for target in each["targets"]]
    assert targets == [url.removeprefix("http://") for url in urls.split(",")]
    assert ("no request is lost" in str(files["README.md"])) == (len(balancers) > 1)


def test_one_port_is_published_and_it_is_guarded() -> None:
    services = _stack(Topology())["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["charge-request"]
    assert services["charge-request"]["environment"]["GRIDCTL_TOKEN_FILE"] == "/run/secrets/gridctl_token"
    assert services["charge-request"]["ports"] == [
        {"target": 8080, "published": "${REQUEST_PORT:-8080}", "mode": "${REQUEST_PORT_MODE:-host}"}
    ]


def test_another_content_is_another_config() -> None:
    names = [
        _stack(Topology.model_validate({"balancer": {"poll_interval_s": poll_s}}))["configs"][
            "prometheus-rules-alerts-yml"
        ]
        for poll_s in (5, 5, 60)
    ]
    assert names[0] == names[1] != names[2]
    assert names[0]["name"].startswith("town-")


def test_a_swarm_has_no_name_for_this_machine() -> None:
    external = parse_topology(shipped_text("external"), "external")
    with pytest.raises(Invalid, match="loopback"):
        deployment(external, "c")
