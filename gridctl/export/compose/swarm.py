"""A deployment as files for Docker Swarm: stack.yaml and what it names. Pure; shares settings and blocks with Compose.

Who keeps a journal is replaced stop-first: the next one goes on with what the last one wrote. So there are two balancers,
unless the topology says how many. Services are found by their
tasks' own addresses (`dnsrr`, `tasks.<service>`) and the port is the node's own (`host`): virtual addresses and the
ingress network need ipvs, which not every kernel has.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from config.topology import Topology
from gridctl.export import containers
from gridctl.export.compose.document import Block, merged, yaml_text
from gridctl.export.compose.observers import GRAFANA, PROMETHEUS, grafana_core, observer_files, prometheus_core
from gridctl.export.compose.render import project, volume_names
from gridctl.export.compose.services import (
    CHECK_TIMEOUT,
    GRACE_S,
    IGNORE,
    MAKE_TOKEN,
    SECRET,
    SECRET_FILE,
    Service,
    check_interval_s,
    environment,
)
from gridctl.export.containers import DATA_FOLDER, TARGETS_FILE, Container, Deployment
from gridctl.export.folder import File
from gridctl.export.image.context import ROLES, Context
from gridctl.export.scalable import replicated
from monitoring.grafana.provisioning import DASHBOARDS_PATH

#: Balancers of a topology that names no number. Swarm replaces who keeps a journal stop-first, so one alone is away for as
#: long as its update takes; beside another one nobody notices.
BALANCERS = 2
#: The DNS name behind which Swarm has the address of each replica.
TASKS = f"tasks.{SUBSTATION}"
#: Replicas on several nodes have a folder of journals each, so their names tell the node's.
_REPLICA_NAME = f"{SUBSTATION}-{{{{.Node.Hostname}}}}"
#: What a path of an exported file is in the container that reads it.
_PLACES = {
    "targets/": TARGETS_FILE.rpartition("/")[0] + "/",
    "prometheus/": "/etc/prometheus/",
    "grafana/provisioning/": "/etc/grafana/provisioning/",
    "grafana/dashboards/": f"{DASHBOARDS_PATH}/",
}

_HEAD = """\
# Written by `gridctl compose export --swarm`; README.md says how to run it.
# Configs are named after their content, since Swarm never changes one: an edited file needs another export.
"""


@dataclass(frozen=True, slots=True)
class Config:
    """A file that Swarm hands to containers: its `key` in stack.yaml, its path here, its name in Swarm and its place."""

    key: str
    path: str
    name: str
    target: str


def stacked(topology: Topology, cluster: str) -> Deployment:
    """`topology` as containers of cluster `cluster`: with `BALANCERS`, unless it says how many. Invalid as `deployment`."""
    return containers.deployment(topology.with_balancers(BALANCERS), cluster)


def render(deployment: Deployment, images: Context) -> Iterator[File]:
    """Every file of the stack: replicas of one service where substations are only counted, else a service each."""
    placed = replicated(deployment, TASKS) if deployment.counted else deployment
    watched = list(observer_files(placed))
    yield "stack.yaml", stack_yaml(placed, images, watched)
    yield from ((f"image/{path}", content) for path, content in images.files)
    yield from watched
    yield IGNORE
    yield "README.md", readme(placed, images)


def stack_yaml(deployment: Deployment, images: Context, files: Sequence[File]) -> str:
    """stack.yaml, whose configs are made from `files`."""
    configs = [_config(deployment.cluster, path, content) for path, content in files if "example" not in path]
    service = _shared(sum(each.replicas for each in deployment.containers))
    observer = Block("observer", {key: service[key] for key in ("read_only", "cap_drop", "logging")})
    services = {each.host: merged(service, _service(each, images, configs)) for each in deployment.containers}
    document: dict[str, Any] = {
        "version": "3.8",
        "x-service": service,
        "x-observer": observer,
        "services": {
            **services,
            PROMETHEUS: merged(observer, _prometheus(configs)),
            GRAFANA: merged(observer, _grafana(configs)),
        },
        "volumes": dict.fromkeys([*volume_names(deployment.containers), PROMETHEUS, GRAFANA]),
        "secrets": {SECRET: {"file": SECRET_FILE}},
        "configs": {each.key: {"name": each.name, "file": f"./{each.path}"} for each in configs},
    }
    return yaml_text(document, _HEAD)


def _shared(containers: int) -> Block:
    """What all of our services have in common; `security_opt` and `pids` are not there for stacks."""
    check = {
        "interval": f"{check_interval_s(containers)}s",
        "timeout": CHECK_TIMEOUT,
        "start_period": "30s",
        "retries": 3,
    }
    values = {
        "read_only": True,
        "cap_drop": ["ALL"],
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
        "secrets": [SECRET],
        "healthcheck": check,
    }
    return Block("service", values)


def _service(container: Container, images: Context, configs: Sequence[Config]) -> Service:
    found: Service = {
        "image": f"${{REGISTRY:-}}{images.image(container.role)}",
        "environment": _environment(container),
        "stop_grace_period": f"{math.ceil(container.drain_s) + GRACE_S}s",
        "volumes": [_scratch(16), *([f"{container.volume}:{DATA_FOLDER}"] if container.volume else [])],
        "deploy": _deploy(container),
    }
    if getattr(container.settings, "targets_file", None):
        found["configs"] = _mounted(configs, "targets/")
    if container.role == CHARGE_REQUEST:
        published, mode = f"${{REQUEST_PORT:-{container.port}}}", "${REQUEST_PORT_MODE:-host}"
        found["ports"] = [{"target": container.port, "published": published, "mode": mode}]
    return found


def _environment(container: Container) -> dict[str, str]:
    """A replica's name is a template, which Swarm fills in on the node."""
    found = environment(container)
    return found | {"NAME": _REPLICA_NAME} if container.scalable else found


def _deploy(container: Container) -> dict[str, Any]:
    front = container.role == CHARGE_REQUEST
    step = {
        "parallelism": 1,
        "order": "${REQUEST_UPDATE_ORDER:-stop-first}" if front else "stop-first",
        "monitor": "5s",
    }
    limits = {"cpus": f"{container.limits.cpus:g}", "memory": f"{container.limits.memory_mb}M"}
    return {
        "replicas": container.replicas,
        "endpoint_mode": "${REQUEST_ENDPOINT_MODE:-dnsrr}" if front else "dnsrr",
        "update_config": {**step, "failure_action": "rollback"},
        "rollback_config": step,
        "restart_policy": {"condition": "any", "delay": "1s"},
        "resources": {"limits": limits},
    }


def _observing(cpus: str, memory: str) -> dict[str, Any]:
    return {
        "replicas": 1,
        "endpoint_mode": "dnsrr",
        "restart_policy": {"condition": "any", "delay": "5s"},
        "resources": {"limits": {"cpus": cpus, "memory": memory}},
    }


def _prometheus(configs: Sequence[Config]) -> Service:
    return {
        **prometheus_core(),
        "secrets": [SECRET],
        "volumes": [f"{PROMETHEUS}:/prometheus"],
        "configs": _mounted(configs, "prometheus/", "targets/"),
        "deploy": _observing("1", "1024M"),
    }


def _grafana(configs: Sequence[Config]) -> Service:
    return {
        **grafana_core(),
        "volumes": [_scratch(64), f"{GRAFANA}:/var/lib/grafana"],
        "configs": _mounted(configs, "grafana/"),
        "deploy": _observing("1", "512M"),
    }


def _scratch(size_mb: int) -> dict[str, Any]:
    return {"type": "tmpfs", "target": "/tmp", "tmpfs": {"size": size_mb * 2**20}}  # noqa: S108  in the container


def _config(cluster: str, path: str, content: str | bytes) -> Config:
    digest = hashlib.sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()[:12]
    key = re.sub(r"[^a-z0-9]+", "-", path)
    (place,) = [place for place in _PLACES if path.startswith(place)]
    return Config(
        key, path, f"{project(cluster)}-{key}-{digest}"[-64:].lstrip("-_"), _PLACES[place] + path[len(place) :]
    )


def _mounted(configs: Sequence[Config], *folders: str) -> list[dict[str, str]]:
    return [{"source": each.key, "target": each.target} for each in configs if each.path.startswith(folders)]


def readme(deployment: Deployment, images: Context) -> str:
    """README.md, of about ten lines."""
    (front,) = deployment.of_role(CHARGE_REQUEST)
    balancers = [each.host for each in deployment.of_role(BALANCER)]
    stack = project(deployment.cluster)
    lost = "no request is lost" if len(balancers) > 1 else "away for about 10 s: it is the only one"
    return f"""\
# {deployment.cluster}, by Docker Swarm

    {MAKE_TOKEN}   # once: the secret of the services
    for role in {" ".join(ROLES)}; do docker build --target $role -t gridctl-$role:{images.tag} image; done
    docker stack deploy --resolve-image never -c stack.yaml {stack}     # several nodes: push the images, set REGISTRY=host/
    docker service update --force {stack}_{balancers[-1]}    # {lost}
    GRIDCTL_TOKEN_FILE=gridctl-token gridctl loadtest --target http://127.0.0.1:{front.port} --rate 2 --duration 60

The request service's port is the node's own, on all its addresses: the token guards it. Two tasks cannot have it at once, so
an update of that service leaves a gap of a second or two. Deployed with `REQUEST_PORT=0 REQUEST_UPDATE_ORDER=start-first` it
leaves none for who asks `http://tasks.{front.host}:{front.port}` inside the stack's network. Not tested, for ipvs:
`REQUEST_PORT_MODE=ingress REQUEST_ENDPOINT_MODE=vip REQUEST_UPDATE_ORDER=start-first`.
Prometheus and Grafana ask nobody for a password, so no port of theirs is published.
"""
