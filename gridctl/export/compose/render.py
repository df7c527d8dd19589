"""A deployment as files for Compose: compose.yaml and all that it names. Pure, but for the wheel that it carries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from config.names import CHARGE_REQUEST
from gridctl.export.compose.document import Block, yaml_text
from gridctl.export.compose.observers import GRAFANA_IMAGE, PROMETHEUS_IMAGE, observer_files, observers
from gridctl.export.compose.services import IGNORE, MAKE_TOKEN, SECRET, SECRET_FILE, Service, named, role_blocks
from gridctl.export.containers import HOST_GATEWAY, Container, Deployment
from gridctl.export.folder import File
from gridctl.export.image.context import PYTHON_IMAGE, Context

_HEAD = """\
# Written by `gridctl compose export`; README.md says how to run it. docker-compose 1.29 and Compose v2 both take it.
# An edited file is not overwritten by the next export: change the topology instead, or put changes into
# compose.override.yaml, which Compose reads too.
"""


def render(deployment: Deployment, images: Context) -> Iterator[File]:
    """Every file of the export: a service a container, or one for all of those that are scalable."""
    blocks = role_blocks(images, deployment.containers)
    services = named(deployment.containers, blocks, gateway(deployment))
    yield "compose.yaml", compose_yaml(deployment, blocks, services, volume_names(deployment.containers))
    yield from beside(deployment, images)


def beside(deployment: Deployment, images: Context) -> Iterator[File]:
    """All but compose.yaml: the images' folder, what Prometheus and Grafana read, the variables and the README."""
    yield from ((f"image/{path}", content) for path, content in images.files)
    yield from observer_files(deployment)
    (front,) = deployment.of_role(CHARGE_REQUEST)
    yield ".env", env(deployment, front.port)
    yield IGNORE
    yield "README.md", readme(deployment, front.port)


def compose_yaml(
    deployment: Deployment, blocks: Mapping[str, Block], services: Mapping[str, Service], volumes: Sequence[str]
) -> str:
    """compose.yaml of our `services` and the observers. `blocks` by their `x-…` keys, as `role_blocks` gives them."""
    more_blocks, more_services, more_volumes = observers(deployment, gateway(deployment))
    document: dict[str, Any] = {
        **blocks,
        **more_blocks,
        "services": {**services, **more_services},
        "volumes": dict.fromkeys([*volumes, *more_volumes]),
        "secrets": {SECRET: {"file": SECRET_FILE}},
    }
    return yaml_text(document, _HEAD)


def volume_names(containers: Sequence[Container]) -> list[str]:
    """The volumes of the journals, each once."""
    return list(dict.fromkeys(each.volume for each in containers if each.volume))


def gateway(deployment: Deployment) -> dict[str, Any]:
    """How those who ask substations find this machine, where an external one runs on it."""
    return {"extra_hosts": [f"{HOST_GATEWAY}:host-gateway"]} if deployment.rerouted else {}


def _scaling(container: Container) -> str:
    """How many there are; who has to go lets its sessions end."""
    command = f"docker compose up -d --scale {container.host}=10"
    return f"    {command}   # who goes, with down too, drains for up to {container.drain_s:g} s; -t 9: 9 s\n"


def project(cluster: str) -> str:
    """The cluster's name as Compose and Swarm allow it: lower case, from a letter or a digit on."""
    return re.sub(r"[^a-z0-9_-]+", "-", cluster.lower()).strip("-_") or "grid"


def env(deployment: Deployment, request_port: int) -> str:
    """`.env`: what may be changed without another export."""
    return f"""\
# Written by `gridctl compose export`. Compose reads it; variables of the shell come before it.
COMPOSE_PROJECT_NAME={project(deployment.cluster)}
# ports on this machine's loopback
REQUEST_PORT={request_port}
PROMETHEUS_PORT={deployment.prometheus_port}
GRAFANA_PORT={deployment.grafana_port}
# images that are not built here
PYTHON_IMAGE={PYTHON_IMAGE}
PROMETHEUS_IMAGE={PROMETHEUS_IMAGE}
GRAFANA_IMAGE={GRAFANA_IMAGE}
"""


def readme(deployment: Deployment, request_port: int) -> str:
    """README.md, of about ten lines."""
    prometheus, grafana = (f"http://127.0.0.1:{port}" for port in (deployment.prometheus_port, deployment.grafana_port))
    return f"""\
# {deployment.cluster}, by Compose

    {MAKE_TOKEN}   # once: the secret of the services
    docker compose up -d          # or docker-compose 1.29; the first time builds the images, about half a minute
    docker compose ps             # all are healthy after some seconds
    GRIDCTL_TOKEN_FILE=gridctl-token gridctl loadtest --target http://127.0.0.1:{request_port} --rate 2 --duration 60
{"".join(_scaling(each) for each in deployment.containers if each.scalable)}\
    docker compose down           # the journals stay in their volumes; down -v deletes them

Prometheus: {prometheus}, Grafana: {grafana}; to go without one, name the other services after `up -d`.
The containers' user (10001) must be able to read the token, hence its mode; that of the folder keeps others away from it.
"""
