"""A topology with every default filled in, as plain values; must not know how they are printed.

The values come from the same expansion that the launcher and every exporter start from, so they cannot disagree.
"""

from __future__ import annotations

from typing import Any

from config.names import BALANCER, CHARGE_REQUEST
from config.plan import ProcessSpec, expand, usual_workers, watchers
from config.settings import SubstationSettings
from config.topology import Topology


def effective(topology: Topology, name: str, cores: int = 1) -> dict[str, Any]:
    """What `topology` comes to as cluster `name` on a machine of `cores`: a mapping that is itself a legal topology.

    Ports are those wanted: where the topology sets none, `up` may take a free one instead.
    """
    specs = expand(topology)
    ports = {spec.role: spec.port for spec in reversed(specs)}
    requests = topology.request_service
    workers = requests.workers or usual_workers(cores, topology.balancer.replicas)
    listed = [spec for spec in specs if spec.role not in {BALANCER, CHARGE_REQUEST}]
    return {
        "name": name,
        "time_scale": topology.time_scale,
        "durability": topology.durability,
        "request_service": {**requests.model_dump(), "port": ports[CHARGE_REQUEST], "workers": workers},
        "balancer": {**topology.balancer.model_dump(), "port": ports[BALANCER]},
        "defaults": topology.defaults.model_dump(),
        "monitoring": _monitoring(topology),
        "substations": [_substation(spec) for spec in listed],
    }


def _monitoring(topology: Topology) -> dict[str, Any]:
    ports = {f"{spec.role}_port": spec.port for spec in watchers(topology)}
    return {**topology.monitoring.model_dump(), **ports}


def _substation(spec: ProcessSpec) -> dict[str, Any]:
    own = spec.settings
    if not isinstance(own, SubstationSettings):
        limits = {"max_sessions": spec.max_sessions, "capacity_kw": spec.capacity_kw}
        return {"name": spec.name, "url": spec.url, "load_metric": spec.load_metric, **limits}
    return {
        "name": spec.name,
        "port": spec.port,
        "max_sessions": own.max_sessions,
        "capacity_kw": own.capacity_kw,
        "session_s": own.session_s,
        "power_kw": own.power_kw,
    }


def summary(topology: Topology) -> str:
    """One line: how many substations, sessions and kW it declares, and the balancer's policy."""
    own = [spec.settings for spec in expand(topology) if isinstance(spec.settings, SubstationSettings)]
    external = len(topology.substations) - len(own)
    counted = f"{len(own):,} substation{'' if len(own) == 1 else 's'}"
    sessions = sum(settings.max_sessions for settings in own)
    limits = [settings.capacity_kw for settings in own]
    power = sum(limit for limit in limits if limit is not None)
    parts = [
        counted + (f" and {external:,} external" if external else ""),
        f"{sessions:,} sessions",
        f"{power:,.15g} kW" + (" where limited" if None in limits else "") if power else "no kW limit",
        f"policy {topology.balancer.policy}",
        f"time_scale {topology.time_scale:g}",
    ]
    return ", ".join(parts)
