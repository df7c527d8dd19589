"""Our own services as Compose's: one entry a container, with what all have in common in shared blocks.

Every key is one that docker-compose 1.29 and Compose v2 both know without a `version`. Must not know Swarm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from gridctl.export.compose.document import Block, merged
from gridctl.export.containers import DATA_FOLDER, TARGETS_FILE, Container
from gridctl.export.image.context import PYTHON_IMAGE, ROLES, Context

#: The secret, the file of the user's that it is made from, and where a container finds it.
SECRET = "gridctl_token"  # noqa: S105  a name
SECRET_FILE = "./gridctl-token"  # noqa: S105
SECRET_PATH = f"/run/secrets/{SECRET}"
#: How the user makes that file, in the folder: the containers' user must be able to read it, and nobody else to get there.
MAKE_TOKEN = "openssl rand -hex 32 > gridctl-token && chmod 444 gridctl-token && chmod 700 ."  # noqa: S105  how to make it
#: What keeps it out of a repository.
IGNORE = (".gitignore", "gridctl-token\n")
#: Folder beside compose.yaml with the list of targets.
TARGETS_FOLDER = "./targets"
#: What a stopping service may take (wall seconds): the requests that it answers still, and its journal.
GRACE_S = 20
#: Health checks of all containers together, at most so many a second: each starts a process.
_CHECKS_PER_S = 4.0
_SLOWEST_CHECK_S = 30

#: What a check may take: the probe gives the service 2.5 s, the rest is for its own start. Under 3 s of all, engines on busy
#: machines killed services that were well.
CHECK_TIMEOUT = "10s"

Service = dict[str, Any]


def hardened(name: str, **more: Any) -> Block:
    """What every container of an export has: it may do nothing that it need not, comes back, and its log is bounded."""
    values = {
        "restart": "unless-stopped",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
    }
    return Block(name, values | more)


def check_interval_s(containers: int) -> int:
    """Seconds between two health checks of one among so many containers: 2 for a few, more where they would add up."""
    return min(_SLOWEST_CHECK_S, max(2, round(containers / _CHECKS_PER_S)))


def role_blocks(images: Context, containers: Sequence[Container]) -> dict[str, Block]:
    """`x-…` key → block: what our services share, and what those of one role do."""
    interval = f"{check_interval_s(sum(each.replicas for each in containers))}s"
    service = hardened(
        "service",
        tmpfs=["/tmp:size=16m"],  # noqa: S108  in the container
        stop_grace_period=f"{GRACE_S}s",
        secrets=[SECRET],
        healthcheck={"interval": interval, "timeout": CHECK_TIMEOUT, "start_period": "30s", "retries": 3},
    )
    blocks = {"x-service": service}
    for role in ROLES:
        build = {"context": "./image", "target": role, "args": {"PYTHON_IMAGE": f"${{PYTHON_IMAGE:-{PYTHON_IMAGE}}}"}}
        blocks[f"x-{role}"] = Block(role, merged(service, {"image": images.image(role), "build": build}))
    return blocks


def entry(container: Container, block: Block, **more: Any) -> Service:
    """One container as a service of its role's `block`; `more` keys last."""
    found: Service = {"environment": environment(container), **limits(container)}
    if mounts := volumes(container):
        found["volumes"] = mounts
    if container.role == CHARGE_REQUEST:
        found["ports"] = [published("REQUEST_PORT", container.port)]
    if container.scalable:  # without a number of its own: `--scale` says how many, else this
        found |= {"scale": container.replicas, "stop_grace_period": f"{math.ceil(container.drain_s) + GRACE_S}s"}
    return merged(block, found | more)


def environment(container: Container) -> dict[str, str]:
    """The container's settings, the token's place, and what is open without it: what probes and Prometheus ask."""
    found = {**container.environment, "GRIDCTL_TOKEN_FILE": SECRET_PATH, "OPEN": "health,metrics"}
    return {name: value.replace("$", "$$") for name, value in found.items()}


def limits(container: Container) -> Service:
    """What it may take, in keys that every Compose enforces without Swarm."""
    found = container.limits
    return {"cpus": found.cpus, "mem_limit": f"{found.memory_mb}m", "pids_limit": found.pids}


def volumes(container: Container) -> list[str]:
    """Its journal's volume, and the list of targets if it reads one."""
    mounts = [f"{container.volume}:{DATA_FOLDER}"] if container.volume else []
    if container.role == BALANCER and getattr(container.settings, "targets_file", None):
        mounts.append(f"{TARGETS_FOLDER}:{TARGETS_FILE.rpartition('/')[0]}:ro")
    return mounts


def published(variable: str, port: int, inside: int | None = None) -> str:
    """A port on this machine's loopback, which is `inside` in the container; `variable` changes its number here."""
    return f"127.0.0.1:${{{variable}:-{port}}}:{port if inside is None else inside}"


def healthy(hosts: Iterable[str]) -> Service:
    """`depends_on`: start once all of `hosts` are healthy."""
    waits = {host: {"condition": "service_healthy"} for host in hosts}
    return {"depends_on": waits} if waits else {}


def named(
    containers: Sequence[Container], blocks: Mapping[str, Block], gateway: Mapping[str, Any]
) -> dict[str, Service]:
    """A service a container, in order of health: substations, then balancers, then the charge-request service.

    `gateway` is for those who ask substations.
    """
    hosts = {role: [each.host for each in containers if each.role == role] for role in ROLES}
    before = {SUBSTATION: [], BALANCER: hosts[SUBSTATION], CHARGE_REQUEST: hosts[BALANCER]}
    more = {BALANCER: gateway}
    return {
        each.host: entry(each, blocks[f"x-{each.role}"], **healthy(before[each.role]), **more.get(each.role, {}))
        for each in containers
    }
