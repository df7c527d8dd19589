"""A deployment whose substations are replicas of one service: found by DNS, named after the journals that they adopt.

Pure; knows no engine's format.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace

from config.errors import Fault, Invalid
from config.names import SUBSTATION
from config.settings import BalancerSettings, SubstationSettings
from gridctl.export.containers import DATA_FOLDER, Container, Deployment

#: The one volume of all replicas on a machine.
VOLUME = "substations"
#: No replica that is to go drains for longer (wall seconds); what charges then stays in its journal.
MOST_DRAIN_S = 600.0
#: An end is noticed within this (wall seconds).
_NOTICED_S = 0.5


def replicated(deployment: Deployment, dns: str = SUBSTATION) -> Deployment:
    """The same grid with one container for all its substations, as many `replicas` as there are.

    `dns` is the name behind which an engine has the addresses of all replicas. Invalid where the substations differ, or
    where there is none: replicas are alike.
    """
    replica = _replica(deployment.of_role(SUBSTATION))
    where = f"{dns}:{replica.port}"
    others = (_finding(each, deployment, where) for each in deployment.containers if each.role != SUBSTATION)
    return replace(deployment, containers=(replica, *others))


def _finding(container: Container, deployment: Deployment, where: str) -> Container:
    """A balancer that finds its substations by DNS, and that they tell at once when they drain; any other as it is."""
    settings = container.settings
    if not isinstance(settings, BalancerSettings):
        return container
    file = settings.targets_file if deployment.externals else None
    found = replace(settings, substations_dns=where, targets_file=file, cluster=deployment.cluster, url=container.url)
    return replace(container, settings=found)


def _replica(substations: tuple[Container, ...]) -> Container:
    if not substations:
        raise Invalid("there is no substation of our own to make replicas of", "leave --scalable out")
    first = substations[0]
    faults = [fault for other in substations[1:] if (fault := _difference(first, other)) is not None]
    if faults:
        advice = "leave --scalable out: each has a container of its own then"
        raise Invalid("replicas are alike, and these substations are not", advice, faults)
    if not isinstance(first.settings, SubstationSettings):
        raise TypeError(f"{first.name} is no substation")
    settings = replace(
        first.settings, name=SUBSTATION, journal=None, journal_dir=DATA_FOLDER, drain_s=drain_s(first.settings)
    )
    return Container(SUBSTATION, SUBSTATION, SUBSTATION, first.port, settings, first.limits, VOLUME, len(substations))


def drain_s(settings: SubstationSettings) -> float:
    """How long one that leaves for good goes on (wall seconds): a little longer than a session that says nothing of itself.

    One that began just before is over then, and its end was noticed.
    """
    return float(min(MOST_DRAIN_S, math.ceil(settings.session_s / settings.time_scale + _NOTICED_S)))


def _difference(first: Container, other: Container) -> Fault | None:
    """What `other` has otherwise than `first`."""
    one, two = (_shared(each) for each in (first, other))
    differing = [key for key in one if one[key] != two[key]]
    if not differing:
        return None
    key = differing[0]
    return Fault("topology", 0, f"{other.name}.{key}", repr(two[key]), f"{one[key]!r}, as {first.name}")


def _shared(container: Container) -> dict[str, object]:
    """What replicas must have in common."""
    return {key: value for key, value in asdict(container.settings).items() if key not in ("name", "journal")}
