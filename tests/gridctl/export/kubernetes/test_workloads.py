"""What runs as pods: replicas, volumes, patience, and who is told of whom."""

from __future__ import annotations

import json

import pytest

from config.errors import Invalid
from config.loading import parse_topology
from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from config.shipped import shipped_text
from gridctl.export.kubernetes.pods import ENDING_S, LAST_CALL_S
from tests.gridctl.export.kubernetes.exported import (
    container,
    environment,
    exported,
    of_kind,
    pod,
    rendered,
    workloads,
)


def test_counted_substations_are_replicas_that_are_scaled() -> None:
    files = exported("default")
    sets = of_kind(files, "StatefulSet")
    assert sets.keys() == {SUBSTATION, BALANCER}
    told = environment(sets[SUBSTATION])
    assert (told["NAME"], told["JOURNAL"]) == ("(from the pod)", "/var/lib/gridctl/$(NAME).db")
    assert sets[SUBSTATION]["spec"]["ordinals"] == {"start": 1}
    assert environment(sets[BALANCER])["SUBSTATIONS_DNS"] == "substation:9001"
    assert "TARGETS_FILE" not in environment(sets[BALANCER])
    scaler = of_kind(files, "HorizontalPodAutoscaler")[SUBSTATION]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 9)
    (metric,) = scaler["metrics"]
    assert metric["external"]["metric"] == {
        "name": "grid_loading_percentage",
        "selector": {"matchLabels": {"cluster": "city"}},
    }


def test_substations_with_names_keep_them_and_their_volumes() -> None:
    files = exported("named")
    sets = of_kind(files, "StatefulSet")
    assert sets.keys() == {"harbour-east", "s-1e3", "y", BALANCER}
    for host, name in (("harbour-east", "Harbour.East"), ("s-1e3", "1e3"), ("y", "y")):
        assert environment(sets[host])["NAME"] == name
        assert sets[host]["spec"]["template"]["metadata"]["annotations"] == {"gridctl/substation-id": name}
        assert sets[host]["spec"]["replicas"] == 1
        assert environment(sets[host])["DRAIN_S"] == "0"
    assert not of_kind(files, "HorizontalPodAutoscaler")
    listed = json.loads(of_kind(files, "ConfigMap")["gridctl-targets"]["data"]["targets.json"])
    where = {group["labels"]["substation_id"]: group["targets"] for group in listed}
    assert where == {
        "Harbour.East": ["harbour-east-0.substation:9001"],
        "1e3": ["s-1e3-0.substation:9100"],
        "y": ["y-0.substation:9002"],
    }
    assert environment(sets[BALANCER])["TARGETS_FILE"] == "/etc/gridctl/targets.json"


@pytest.mark.parametrize(("name", "limit_s"), [("default", 31), ("mixed", 0)])
def test_nobody_is_killed_before_its_own_time_is_over(name: str, limit_s: int) -> None:
    """A substation that may leave has the length of a session and a moment, the others their requests' time."""
    for one in workloads(exported(name)):
        told, role = environment(one), container(one)["args"][1]
        patience_s = float(told.get("DRAIN_S", 0)) if role == SUBSTATION else float(told["REQUEST_TIMEOUT_S"])
        assert patience_s == (limit_s if role == SUBSTATION else 10)
        last_call_s = container(one).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert last_call_s == (LAST_CALL_S if role == CHARGE_REQUEST else 0)
        assert pod(one)["terminationGracePeriodSeconds"] >= patience_s + last_call_s + ENDING_S


def test_several_balancers_know_each_other_and_are_all_asked() -> None:
    files = exported("several-balancers")
    balancer = of_kind(files, "StatefulSet")[BALANCER]
    urls = ",".join(f"http://balancer-{number}.balancer:8400" for number in (1, 2, 3))
    assert balancer["spec"]["replicas"] == 3
    assert environment(balancer)["PEERS"] == urls
    assert environment(balancer)["URL"] == "http://$(NAME).balancer:8400"
    assert environment(of_kind(files, "Deployment")[CHARGE_REQUEST])["BALANCERS"] == urls


def test_one_on_the_users_own_machine_is_out_of_reach() -> None:
    with pytest.raises(Invalid, match="loopback"):
        rendered(parse_topology(shipped_text("external"), "external"))
