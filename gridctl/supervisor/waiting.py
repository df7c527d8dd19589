"""Waits for members to get where they should, and says meanwhile what is waited for. Must not move anything itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from config.errors import NotReady
from gridctl.supervisor.cluster import Cluster
from gridctl.supervisor.happenings import RESTING, State
from gridctl.supervisor.lastwords import never_came_up
from gridctl.supervisor.member import Member

Line = dict[str, Any]

#: Say what is waited for after this long, and then each time it passes.
SAY_S = 1.0
#: Who is waited for is not looked at more often than this a member (wall seconds): a crowd's changes come in thousands.
PACE_S = 0.00002


@dataclass(slots=True)
class Outcome:
    """How a wait ended: who is still not there."""

    missing: list[str]


def reached(cluster: Cluster, names: Iterable[str], goal: Callable[[Member], bool]) -> list[str]:
    """Who of `names` is in the cluster and has not reached `goal`."""
    present = [cluster.members[name] for name in names if name in cluster.members]
    return [member.name for member in present if not goal(member)]


async def until(
    cluster: Cluster,
    names: list[str],
    goal: Callable[[Member], bool],
    outcome: Outcome,
    timeout_s: float = float("inf"),
) -> AsyncIterator[Line]:
    """Lines that say what is waited for, until every one of `names` has reached `goal` (a member that left has).

    `outcome.missing` is empty then; after `timeout_s` wall seconds it names the rest.
    """
    give_up = time.monotonic() + timeout_s
    say_at = time.monotonic() + SAY_S
    told: dict[str, State] = {}
    while outcome_missing := reached(cluster, names, goal):
        for line in _news(cluster, names, told):
            yield line
        now = time.monotonic()
        if now >= give_up:
            break
        if now >= say_at:
            say_at = now + SAY_S
            yield {"message": "waiting for " + _list(cluster, outcome_missing), "waiting": outcome_missing}
        await cluster.changed(min(SAY_S / 2, max(0.0, give_up - now)))
        await asyncio.sleep(PACE_S * len(names))
    for line in _news(cluster, names, told):
        yield line
    outcome.missing = outcome_missing


async def all_gone(cluster: Cluster, names: list[str]) -> AsyncIterator[Line]:
    """Until none of `names` is leaving any more."""
    async for line in until(cluster, names, lambda member: not member.leaving, Outcome([])):
        yield line


async def all_ready(
    cluster: Cluster, names: list[str], fresh: set[str], restarted: dict[str, int], timeout_s: float
) -> AsyncIterator[Line]:
    """Until those of `names` that are `fresh` are READY, and through the restart that was asked for; NotReady otherwise.

    What was not touched need not be READY, only not FATAL. `restarted`: the restarts before, by name.
    """

    def there(member: Member) -> bool:
        if member.state in RESTING:
            return True
        up = member.state is State.READY or member.degraded
        return up and not member.leaving and member.life.restarts > restarted.get(member.name, -1)

    outcome = Outcome([])
    async for line in until(cluster, [name for name in names if name in fresh], there, outcome, timeout_s):
        yield line
    present = [cluster.members[name] for name in names if name in cluster.members]
    if failed := [member for member in present if member.state is State.FATAL]:
        raise never_came_up(cluster, failed)
    touched = [member for member in present if member.name in fresh]
    if unable := [
        f"{member.name} is up and takes nothing: {member.life.reason}" for member in touched if member.degraded
    ]:
        raise NotReady("; ".join(unable), "all else runs; mend that, then: gridctl restart NAME")
    if stopped := [member.name for member in touched if member.state is State.STOPPED]:
        raise NotReady(f"stopped meanwhile by another command: {', '.join(stopped)}", "see: gridctl ps")
    if outcome.missing:
        missing = ", ".join(outcome.missing)
        raise NotReady(f"not ready within {timeout_s:g} s: {missing}", "see: gridctl ps, gridctl logs")


def _news(cluster: Cluster, names: list[str], told: dict[str, State]) -> list[Line]:
    lines: list[Line] = []
    for name in names:
        member = cluster.members.get(name)
        state = member.state if member is not None else State.STOPPED
        if told.get(name) is not state:
            told[name] = state
            reason = member.life.reason if member is not None else ""
            lines.append(
                {"name": name, "state": state, "message": f"{name} {state}" + (f": {reason}" if reason else "")}
            )
    return lines


def _list(cluster: Cluster, names: list[str], shown: int = 3) -> str:
    words = [describe(cluster.members[name]) for name in names[:shown] if name in cluster.members]
    more = len(names) - len(words)
    return ", ".join(words) + (f" and {more} more" if more else "")


def describe(member: Member) -> str:
    """What a member is waited for, in words: `substation2 (3 sessions, at most 12 s more)`."""
    left_s = member.life.deadline - time.monotonic() if member.life.deadline is not None else None
    match member.state:
        case State.DRAINING:
            sessions = member.health.get("sessions")
            charging = f"{sessions} session{'' if sessions == 1 else 's'}" if sessions is not None else "sessions"
            limit = f", at most {left_s:.0f} s more" if left_s is not None else ""
            return f"{member.name} ({charging} charging{limit})"
        case State.STOPPING:
            return f"{member.name} (stopping" + (f", killed in {max(left_s, 0):.0f} s)" if left_s is not None else ")")
        case State.BACKOFF:
            return f"{member.name} (crashed: {member.life.reason}; again in {max(left_s or 0, 0):.1f} s)"
        case _:
            reason = f": {member.life.reason}" if member.life.reason else ""
            return f"{member.name} ({member.state}{reason})"
