"""What a member is told at its birth: settings with the real ports, or the program that it becomes. Must not fork."""

from __future__ import annotations

import socket
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from config.errors import GridError
from config.names import BALANCER, PROMETHEUS
from config.settings import BalancerSettings, ChargeRequestSettings, settings_to_json
from gridctl.state import ClusterPaths
from gridctl.supervisor.forking import Birth
from gridctl.supervisor.member import Member
from gridctl.supervisor.watching import prepare


def birth_of(
    member: Member, everyone: Collection[Member], paths: ClusterPaths, lifeline: socket.socket, sheet: int | None
) -> Birth:
    """All that the zygote needs to bear `member`; GridError or OSError where it cannot be said now.

    `sheet` is the descriptor of the memory that workers share.
    """
    if member.held is None:
        raise GridError(f"{member.name} has no port to listen on")
    spec, command = member.spec, None
    if member.is_watcher:
        command = prepare(spec, paths, member.held.port, _prometheus_url(everyone))
    return Birth(
        name=spec.name,
        role=spec.role,
        cluster=paths.name,
        settings=_settings(member, everyone),
        log_file=paths.log_file(spec.name),
        listener=member.held.sock,
        lifeline=lifeline,
        command=command,
        worker=spec.worker,
        own=member.held.beside.sock if member.held.beside is not None else None,
        sheet=sheet if spec.worker is not None else None,
    )


def _prometheus_url(everyone: Collection[Member]) -> str:
    return next((member.next_url for member in everyone if member.spec.role == PROMETHEUS), "")


def _settings(member: Member, everyone: Collection[Member]) -> dict[str, Any]:
    settings = member.spec.settings
    if settings is None:
        return {}
    if not isinstance(settings, ChargeRequestSettings | BalancerSettings):
        return settings_to_json(settings)
    balancers = tuple(other.next_url for other in everyone if other.spec.role == BALANCER and not other.leaving)
    if isinstance(settings, ChargeRequestSettings):
        settings = replace(settings, balancers=balancers)
    else:
        settings = replace(settings, peers=balancers, url=member.url)
    return settings_to_json(settings)
