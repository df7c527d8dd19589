"""Who may talk to whom: by policies that let out and in."""

from __future__ import annotations

import json

from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from tests.gridctl.export.kubernetes.exported import (
    Export,
    environment,
    exported,
    of_kind,
    selects,
    workloads,
)


def talks(files: Export) -> set[tuple[str, str]]:
    """Who may open a connection to whom, by role: one policy must let it out and one must let it in."""
    roles = {
        one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]: one for one in workloads(files)
    }
    labels = {role: one["spec"]["template"]["metadata"]["labels"] for role, one in roles.items()}
    policies = [one["spec"] for one in of_kind(files, "NetworkPolicy").values()]

    def allowed(role: str, direction: str, peers: str, other: str) -> bool:
        rules = [
            rule
            for policy in policies
            if selects(policy["podSelector"]["matchLabels"], labels[role])
            for rule in policy.get(direction, ())
            if rule["ports"] == [{"protocol": "TCP", "port": "http"}]
        ]
        pods = [peer.get("podSelector", {}) for rule in rules for peer in rule.get(peers, ())]
        return any(peers not in rule for rule in rules) or any(
            pod and selects(pod["matchLabels"], labels[other]) for pod in pods
        )

    return {
        (one, other)
        for one in roles
        for other in roles
        if allowed(one, "egress", "to", other) and allowed(other, "ingress", "from", one)
    }


def test_the_network_lets_through_what_must_talk_and_nothing_else() -> None:
    files = exported("default")
    assert talks(files) == {
        (CHARGE_REQUEST, BALANCER),
        (BALANCER, SUBSTATION),
        (BALANCER, BALANCER),
        (SUBSTATION, BALANCER),
    }
    denied = of_kind(files, "NetworkPolicy")["default-deny"]["spec"]
    assert denied["policyTypes"] == ["Ingress", "Egress"]
    assert not denied.keys() & {"ingress", "egress"}
    everybody = [one["spec"]["template"]["metadata"]["labels"] for one in workloads(files)]
    assert all(selects(denied["podSelector"]["matchLabels"], labels) for labels in everybody)


def test_substations_elsewhere_are_reached_through_the_network_policy() -> None:
    files = exported("with-others")
    listed = json.loads(of_kind(files, "ConfigMap")["gridctl-targets"]["data"]["targets.json"])
    assert [group["labels"]["url"] for group in listed] == ["https://10.1.2.3:7601/$(NAME)", "http://other.example:80"]
    told = environment(of_kind(files, "StatefulSet")[BALANCER])
    assert (told["SUBSTATIONS_DNS"], told["TARGETS_FILE"]) == ("substation:9001", "/etc/gridctl/targets.json")
    egress = of_kind(files, "NetworkPolicy")[BALANCER]["spec"]["egress"]
    assert egress[1:] == [
        {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"protocol": "TCP", "port": 7601}]},
        {"ports": [{"protocol": "TCP", "port": 80}]},
    ]
