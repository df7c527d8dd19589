"""Who is found by which name, and who may talk to whom: Services and NetworkPolicies. Must not know what runs in a pod."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from config.plan import ProcessSpec
from gridctl.export.containers import Deployment
from gridctl.export.folder import File
from gridctl.export.kubernetes.objects import PORT_NAME, Grid, Object, file

#: The namespace whose pods may read metrics: where Prometheus runs.
PROMETHEUS_NAMESPACE = "monitoring"
#: Where a node's own DNS cache listens.
NODE_DNS = "169.254.20.10/32"

_WHY_REQUEST = "Where EVs ask for a charge. Inside the cluster only: put an Ingress or a Gateway before it to open it."
_WHY_HEADLESS = """\
One DNS name with the addresses of all pods, and a name for each: how they are found.
Also of those that are not ready: who is a member is not a matter of health, and balancers judge health themselves."""
_WHY_DENY = """\
Nobody talks to anybody, but for what the other policies allow.
Who is to send traces (OTEL_EXPORTER_OTLP_ENDPOINT) needs one more, that lets it out to your collector."""
_WHY_DNS = "All may ask for names: at a DNS server in the cluster, or at the node's own cache."
_WHY_METRICS = f"""\
Prometheus may read everybody's /metrics, from the namespace `{PROMETHEUS_NAMESPACE}`: change it if yours runs elsewhere."""
_WHY_TALK = {
    CHARGE_REQUEST: "Whoever reaches it may ask (the token guards it); it asks balancers, and nobody else.",
    BALANCER: "Asked by the charge-request service and by each other, told of ends by substations; asks substations.",
    SUBSTATION: "Asked by balancers only; tells them at once of what ended otherwise than planned.",
}


@dataclass(frozen=True, slots=True)
class Network:
    """The Services and NetworkPolicies of `deployment` as objects of `grid`."""

    deployment: Deployment
    grid: Grid

    def files(self) -> Iterator[File]:
        """One object a file."""
        request = self.deployment.of_role(CHARGE_REQUEST)[0]
        yield self._service(CHARGE_REQUEST, {"type": "ClusterIP"}, request.port, _WHY_REQUEST)
        headless = {"clusterIP": "None", "publishNotReadyAddresses": True}
        for role in (BALANCER, SUBSTATION):
            if containers := self.deployment.of_role(role):
                yield self._service(role, headless, containers[0].port, _WHY_HEADLESS)
        yield self._policy("default-deny", self.grid.labels, [], [], _WHY_DENY)
        yield self._policy("dns", self.grid.labels, None, [_dns()], _WHY_DNS)
        metrics = {"from": [_namespace(PROMETHEUS_NAMESPACE)], "ports": [_port(PORT_NAME)]}
        yield self._policy("metrics", self.grid.labels, [metrics], None, _WHY_METRICS)
        yield self._talk(CHARGE_REQUEST, None, [BALANCER])
        yield self._talk(BALANCER, [CHARGE_REQUEST, BALANCER, SUBSTATION], [SUBSTATION, BALANCER])
        if self.deployment.of_role(SUBSTATION):
            yield self._talk(SUBSTATION, [BALANCER], [BALANCER])

    def _service(self, role: str, kind: Object, port: int, why: str) -> File:
        ports = [{"name": PORT_NAME, "port": port, "targetPort": PORT_NAME}]
        spec = {**kind, "selector": self.grid.pods_of(role), "ports": ports}
        return file("v1", "Service", {"metadata": self.grid.metadata(role, role), "spec": spec}, why)

    def _talk(self, role: str, from_roles: Sequence[str] | None, to_roles: Sequence[str]) -> File:
        """`from_roles` None: from everywhere."""
        ports = [_port(PORT_NAME)]
        ingress: Object = {} if from_roles is None else {"from": [self._pods(each) for each in from_roles]}
        egress: list[Object] = [{"to": [self._pods(each) for each in to_roles], "ports": ports}]
        if role == BALANCER:
            egress += [_outside(spec) for spec in self.deployment.externals]
        return self._policy(role, self.grid.pods_of(role), [{**ingress, "ports": ports}], egress, _WHY_TALK[role])

    def _policy(
        self, name: str, pods: dict[str, str], ingress: list[Object] | None, egress: list[Object] | None, why: str
    ) -> File:
        """None says nothing of that direction, an empty list allows nothing."""
        directions = {"Ingress": ingress, "Egress": egress}
        spec: Object = {
            "podSelector": {"matchLabels": pods},
            "policyTypes": [direction for direction, rules in directions.items() if rules is not None],
        }
        spec |= {direction.lower(): rules for direction, rules in directions.items() if rules}
        content = {"metadata": self.grid.metadata(name), "spec": spec}
        return file("networking.k8s.io/v1", "NetworkPolicy", content, why)

    def _pods(self, role: str) -> Object:
        return {"podSelector": {"matchLabels": self.grid.pods_of(role)}}


def _namespace(name: str) -> Object:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _port(port: str | int, protocol: str = "TCP") -> Object:
    return {"protocol": protocol, "port": port}


def _dns() -> Object:
    servers = [{"namespaceSelector": {}}, {"ipBlock": {"cidr": NODE_DNS}}]
    return {"to": servers, "ports": [_port(53, "UDP"), _port(53)]}


def _outside(spec: ProcessSpec) -> Object:
    """The way to a substation elsewhere: its port, at its address where that is written as one."""
    parts = urlsplit(spec.url or "")
    rule: Object = {"ports": [_port(parts.port or (443 if parts.scheme == "https" else 80))]}
    try:
        address = ip_address(parts.hostname or "")
    except ValueError:
        return rule
    return {"to": [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}], **rule}
