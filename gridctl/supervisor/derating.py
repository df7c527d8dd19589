"""The verb `derate`: lower limits for substations while they run. What charges goes on; only what is admitted is less."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from config.errors import Invalid
from config.names import SUBSTATION
from config.settings import SubstationSettings
from gridctl.selection import select
from gridctl.supervisor.cluster import Cluster
from gridctl.supervisor.member import Member
from gridctl.supervisor.targets import write_atomically
from gridctl.supervisor.waiting import Line

KEYS = ("capacity_kw", "max_sessions")
#: Nothing in a grid is more than this.
MOST_KW = 1e6


async def derate(cluster: Cluster, args: Mapping[str, Any]) -> AsyncIterator[Line]:
    """Limit `names` (globs allowed) to `capacity_kw` and `max_sessions`; without either, to what their topology says.

    It holds until it is said anew, through restarts of the services and of a supervisor that was killed.
    """
    wanted = {key: args[key] for key in KEYS if args.get(key) is not None}
    own = [member.name for member in cluster.by_role(SUBSTATION)]
    chosen = [cluster.members[name] for name in select(list(args.get("names") or ()), own)]
    if not chosen:
        raise Invalid("no substation named", "name one or more, or a pattern such as 'substation*'")
    for member in chosen:
        _check(member, wanted)
    deratings = {name: kept for name, kept in cluster.deratings.items() if name in own}
    for member in chosen:
        deratings.pop(member.name, None)
        if wanted:
            deratings[member.name] = wanted
    write_atomically(cluster.paths.deratings, deratings)
    cluster.deratings = deratings
    for member in chosen:
        member.tell({"do": "derate", **wanted})
        cluster.journal.add("derate", name=member.name, **{key: wanted.get(key) for key in KEYS})
        yield {"name": member.name, "message": _described(member, wanted)}


def _check(member: Member, wanted: Mapping[str, Any]) -> None:
    declared_kw, most = _declared(member)
    most_kw = MOST_KW if declared_kw is None else declared_kw
    capacity_kw, sessions = wanted.get("capacity_kw"), wanted.get("max_sessions")
    hint = "a derating lowers limits; to raise them change the topology, then: gridctl up -d"
    if capacity_kw is not None and not 0.001 <= float(capacity_kw) <= most_kw:
        raise Invalid(f"{member.name}: capacity_kw must be from 0.001 to {most_kw:g}, found {capacity_kw}", hint)
    if sessions is not None and not 1 <= int(sessions) <= most:
        raise Invalid(f"{member.name}: max_sessions must be from 1 to {most}, found {sessions}", hint)


def _declared(member: Member) -> tuple[float | None, int]:
    settings = member.spec.settings
    if not isinstance(settings, SubstationSettings):
        raise Invalid(f"{member.name} is no substation of this grid", "see: gridctl ps")
    return settings.capacity_kw, settings.max_sessions


def _described(member: Member, wanted: Mapping[str, Any]) -> str:
    most_kw, most = _declared(member)
    if not wanted:
        return f"{member.name} has its topology's limits again: {_limits(most_kw, most)}"
    now = _limits(wanted.get("capacity_kw", most_kw), wanted.get("max_sessions", most))
    return f"{member.name} admits up to {now} (its topology: {_limits(most_kw, most)}); what charges goes on"


def _limits(capacity_kw: float | None, sessions: int) -> str:
    return f"{sessions} sessions" + ("" if capacity_kw is None else f", {capacity_kw:g} kW")


def remembered(path: Path) -> dict[str, dict[str, Any]]:
    """The deratings that a killed supervisor left; none where there is no such file, or none that can be read."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    entries = found.items() if isinstance(found, dict) else ()
    return {name: {key: kept[key] for key in KEYS if key in kept} for name, kept in entries if isinstance(kept, dict)}
