"""The one list of containers, made from the plan: what Compose, Swarm and Kubernetes start. Knows none of their formats.

Containers listen on all their addresses and reach each other by host name; a journal lies in a folder that is a volume.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from urllib.parse import urlsplit

from config import policies
from config.errors import Fault, Invalid
from config.names import BALANCER, CHARGE_REQUEST, EXTERNAL, SUBSTATION
from config.plan import ProcessSpec, expand
from config.ports import GRAFANA_PORT, PROMETHEUS_PORT
from config.rules import loopback_port
from config.settings import BalancerSettings, ChargeRequestSettings, Settings, SubstationSettings
from config.topology import Topology
from gridctl.supervisor.targets import Target

#: Where a container finds its journal, on a volume.
DATA_FOLDER = "/var/lib/gridctl"
#: Where a balancer finds the `file_sd` file that names its substations.
TARGETS_FILE = "/etc/gridctl/targets.json"
#: All addresses of a container: those who reach it come through its engine's network.
ANY_ADDRESS = "0.0.0.0"  # noqa: S104
#: The machine that runs the containers, as they see it, where an engine gives it a name.
HOST_GATEWAY = "host.docker.internal"

#: Host names that deployments give to what is not ours.
TAKEN = frozenset({"alertmanager", "grafana", "host", "localhost", "prometheus", "tasks", "otel-collector"})
#: Swarm puts the stack's name before it, and a DNS label has 63 characters.
_HOST_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may take: `cpus` (1.0 is one core), `memory_mb` (MiB) and `pids` (processes and threads)."""

    cpus: float
    memory_mb: int
    pids: int = 64


@dataclass(frozen=True, slots=True)
class Container:
    """One container, of the spec that the launcher starts too.

    `name` is the process's in logs and metrics, `host` the DNS label by which others reach it, `port` where it listens.
    `volume` names what holds its journal (None: it has none); balancers share one, to take over from each other. There are
    `replicas` of a `scalable` one, which share theirs too and are found by DNS.
    """

    name: str
    role: str
    host: str
    port: int
    settings: Settings
    limits: Limits
    volume: str | None = None
    replicas: int = 1

    @property
    def scalable(self) -> bool:
        """Whether there may be any number of it: each adopts a journal, and is called after that."""
        return getattr(self.settings, "journal_dir", None) is not None

    @property
    def drain_s(self) -> float:
        """Wall seconds for which it may go on once it is to stop, before it begins to."""
        return float(getattr(self.settings, "drain_s", 0.0))

    @property
    def url(self) -> str:
        """Where others reach it."""
        return f"http://{self.host}:{self.port}"

    @property
    def journal(self) -> str | None:
        """The path of its journal inside the container, below `DATA_FOLDER`."""
        return getattr(self.settings, "journal", None)

    @property
    def environment(self) -> dict[str, str]:
        """What `gridctl serve ROLE` must find in the environment to run with these settings."""
        return {"HOST": ANY_ADDRESS, "PORT": str(self.port), **environment_of(self.settings)}


@dataclass(frozen=True, slots=True)
class Deployment:
    """A cluster outside its launcher: `containers` in the plan's order, and the services elsewhere that it uses.

    URLs of `externals` are those that containers use. `rerouted` are the names of those that lie on the machine itself.
    Prometheus is to look each `scrape_interval_s` (wall seconds). `prometheus_port` and `grafana_port` are what the machine
    publishes of those two, where an engine does.
    """

    cluster: str
    containers: tuple[Container, ...]
    externals: tuple[ProcessSpec, ...]
    rerouted: tuple[str, ...] = ()
    scrape_interval_s: float = 5.0
    prometheus_port: int = PROMETHEUS_PORT
    grafana_port: int = GRAFANA_PORT

    def of_role(self, role: str) -> tuple[Container, ...]:
        """The containers of one role."""
        return tuple(each for each in self.containers if each.role == role)

    @property
    def counted(self) -> bool:
        """Whether its substations are only counted: named substation1, substation2, …, and alike otherwise."""
        own = self.of_role(SUBSTATION)
        alike = {(each.limits, *_but_name_and_journal(each.settings)) for each in own}
        return len(alike) == 1 and [each.name for each in own] == [f"{SUBSTATION}{k}" for k in range(1, len(own) + 1)]

    @property
    def targets(self) -> tuple[Target, ...]:
        """All services as Prometheus' and the balancers' `file_sd` document lists them, but for those found by DNS."""
        own = [Target(each.name, each.role, each.host, each.port) for each in self.containers if not each.scalable]
        return (*own, *(_external_target(spec) for spec in self.externals))


def _but_name_and_journal(settings: Settings) -> list[tuple[str, object]]:
    return [(key, value) for key, value in asdict(settings).items() if key not in {"name", "journal"}]


def deployment(topology: Topology, cluster: str, host_gateway: str | None = None) -> Deployment:
    """`topology` as containers of cluster `cluster`.

    An external substation on this machine's loopback is out of a container's reach: it is looked for at `host_gateway`,
    or, where the engine has no such name, Invalid says which they are. Invalid for a policy of a plug-in too.
    """
    _require_shipped(topology.balancer.policy)
    specs = expand(topology, TARGETS_FILE, DATA_FOLDER)
    own = [spec for spec in specs if spec.role != EXTERNAL]
    hosts = _hosts(own)
    found = [spec for spec in specs if spec.role == EXTERNAL]
    loopback = [spec for spec in found if loopback_port(spec.url) is not None]
    if loopback and host_gateway is None:
        raise _out_of_reach(loopback)
    externals = tuple(_reachable(spec, host_gateway) for spec in found)
    urls = {f"http://{spec.host}:{spec.port}": f"http://{hosts[spec.name]}:{spec.port}" for spec in own}
    containers = tuple(_container(spec, hosts[spec.name], urls) for spec in own)
    rerouted = tuple(spec.name for spec in loopback)
    watching = topology.monitoring
    ports = (watching.prometheus_port or PROMETHEUS_PORT, watching.grafana_port or GRAFANA_PORT)
    return Deployment(cluster, containers, externals, rerouted, watching.scrape_interval_s, *ports)


def _hosts(specs: Sequence[ProcessSpec]) -> dict[str, str]:
    services = {spec.name: spec.name for spec in specs if spec.role != SUBSTATION}
    return services | host_names((spec.name for spec in specs if spec.role == SUBSTATION), services.keys())


def host_names(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """A DNS label for each name, all different: lower case, from a letter on, none of `taken` and `TAKEN`.

    Where capitals and dots alone do not make it one, a part of the name's digest does, so that it never changes.
    """
    hosts: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        plain = plain if re.match(r"[a-z]", plain) else f"s-{plain}".rstrip("-")
        if len(plain) > _HOST_LENGTH or plain in {*TAKEN, *taken, *hosts.values()}:
            digest = hashlib.sha256(name.encode()).hexdigest()[:8]
            plain = f"{plain[: _HOST_LENGTH - 9].rstrip('-')}-{digest}"
        hosts[name] = plain
    return hosts


def environment_of(settings: Settings) -> dict[str, str]:
    """The inverse of `gridctl serve`: its settings as variables. ValueError for what no variable can say.

    What is unset (None, nothing, an empty list) has no variable, and is the default.
    """
    environment = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value in (None, "", ()):
            if field.default is MISSING or field.default != value:
                raise ValueError(f"{field.name} = {value!r} cannot be told by a variable")
            continue
        environment[field.name.upper()] = _text(value)
    return environment


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:.17g}" if isinstance(value, float) and value.is_integer() else str(value)


def _container(spec: ProcessSpec, host: str, urls: Mapping[str, str]) -> Container:
    settings = spec.settings
    if settings is None:
        raise TypeError(f"{spec.name} is not started here")
    volume = {SUBSTATION: host, BALANCER: BALANCER, CHARGE_REQUEST: None}[spec.role]
    own = urls[f"http://{spec.host}:{spec.port}"]
    return Container(spec.name, spec.role, host, spec.port, _inside(settings, own, urls), limits_of(settings), volume)


def _inside(settings: Settings, own: str, urls: Mapping[str, str]) -> Settings:
    """The settings with host names in place of loopback."""
    if isinstance(settings, ChargeRequestSettings):
        return replace(settings, balancers=tuple(urls[each] for each in settings.balancers))
    if isinstance(settings, BalancerSettings) and settings.peers:
        return replace(settings, peers=tuple(urls[each] for each in settings.peers), url=own)
    return settings


def limits_of(settings: Settings) -> Limits:
    """What a service of these settings may take.

    An idle process takes 40 MiB and can use one core; 10 KiB are counted for each session or waiting request that it must be
    able to hold.
    """
    held, processes = 0, 1
    if isinstance(settings, SubstationSettings):
        held = settings.max_sessions
    elif isinstance(settings, BalancerSettings):
        held = settings.queue_limit
    elif isinstance(settings, ChargeRequestSettings):
        processes = settings.workers
    return Limits(cpus=float(processes), memory_mb=256 * processes + min(held // 100, 16_000))


def _require_shipped(policy: str) -> None:
    if policy not in policies.SHIPPED:
        fault = Fault("topology", 0, "balancer.policy", repr(policy), f"one of {', '.join(policies.SHIPPED)}")
        raise Invalid("images hold gridctl and no plug-ins of it", faults=[fault])


def _out_of_reach(loopback: Sequence[ProcessSpec]) -> Invalid:
    faults = [
        Fault("topology", 0, f"{spec.name}.url", str(spec.url), "an address that containers can reach")
        for spec in loopback
    ]
    return Invalid("external substations on this machine's loopback cannot be reached from there", "", faults)


def _reachable(spec: ProcessSpec, gateway: str | None) -> ProcessSpec:
    """The same service as containers reach it: what is on loopback, at the machine that runs them."""
    if loopback_port(spec.url) is None or spec.url is None or gateway is None:
        return spec
    parts = urlsplit(spec.url)
    return replace(spec, url=parts._replace(netloc=f"{gateway}:{parts.port}").geturl())


def _external_target(spec: ProcessSpec) -> Target:
    return Target(
        spec.name,
        spec.role,
        spec.host,
        spec.port,
        url=spec.url,
        load_metric=spec.load_metric,
        max_sessions=spec.max_sessions,
        capacity_kw=spec.capacity_kw,
    )
