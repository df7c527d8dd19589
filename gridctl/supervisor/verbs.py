"""What users may ask of a running cluster, one function a verb, each yielding progress. Must not know HTTP or terminals."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from config.errors import GridError, Invalid
from config.names import EXTERNAL, SUBSTATION
from config.plan import watchers
from config.topology import Topology
from gridctl.programs import installed
from gridctl.selection import select
from gridctl.supervisor.cluster import Cluster
from gridctl.supervisor.converge import Patience, check_source, converge, plan
from gridctl.supervisor.derating import derate
from gridctl.supervisor.faults import faults
from gridctl.supervisor.happenings import RESTING, Drain, Event, Kill, Pause, Start, State, Stop, Unpause
from gridctl.supervisor.member import Member, ordered_for_stop
from gridctl.supervisor.waiting import Line, Outcome, all_gone, all_ready, until

#: A restarted substation is known to the balancer well within the first; asked each time the second passes (wall seconds).
ROUTABLE_S = 3.0
ROUTABLE_STEP_S = 0.05


async def apply(cluster: Cluster, args: Mapping[str, Any]) -> AsyncIterator[Line]:
    """Converge to a topology (`topology`, `source`, `force`) and, with `wait`, wait until all are READY."""
    check_source(cluster, args["source"], bool(args.get("force")))
    topology = Topology.model_validate_json(args["topology"])
    if not topology.defaults.hard_limit:
        yield {"message": "warning: hard_limit is false: substations take more than they can bear (for teaching only)"}
    for line in _not_installed(topology):
        yield line
    async for line in _converge(cluster, topology, args["source"], args):
        yield line


def _not_installed(topology: Topology) -> list[Line]:
    return [{"message": words} for words in installed(watchers(topology))[1]]


async def _converge(cluster: Cluster, topology: Topology, source: str, args: Mapping[str, Any]) -> AsyncIterator[Line]:
    patience = _patience(args)
    leaving = [member.name for member in cluster.members.values() if member.leaving]
    steps = converge(cluster, topology, source, patience)
    again = [cluster.members[step.name] for step in steps if step.action in {"restart", "reload"}]
    restarted = {
        member.name: member.life.restarts for member in again if member.successor and member.state not in RESTING
    }
    yield {"changes": [dataclasses.asdict(step) for step in steps], "message": ""}
    for line in _moved_ports(cluster, [step.name for step in steps if step.action == "start"]):
        yield line
    await _taken_up(cluster)
    if not args.get("wait", True):
        return
    gone = leaving + [step.name for step in steps if step.action == "stop"]
    async for line in all_gone(cluster, gone):
        yield line
    names = [step.name for step in steps if step.action != "stop"]
    fresh = {step.name for step in steps if step.action in {"start", "restart"}}
    async for line in all_ready(cluster, names, fresh, restarted, float(args.get("wait_timeout_s", 60.0))):
        yield line
    await _until_routable(cluster, fresh)


def _moved_ports(cluster: Cluster, names: list[str]) -> list[Line]:
    held = [(cluster.members[name], cluster.members[name].held) for name in names]
    moved = [
        (member.name, member.spec.port, sock.port)
        for member, sock in held
        if sock and sock.port != member.spec.port and not member.spec.worker
    ]
    return [{"message": f"port {wanted} is busy: {name} listens on {port}"} for name, wanted, port in moved]


def _patience(args: Mapping[str, Any]) -> Patience:
    given = {key: float(args[key]) for key in ("drain_timeout_s", "stop_timeout_s") if args.get(key) is not None}
    return Patience(**given)


async def show_plan(cluster: Cluster, args: Mapping[str, Any]) -> AsyncIterator[Line]:
    """What `apply` of the same topology would do, and why."""
    topology = Topology.model_validate_json(args["topology"])
    _, steps = plan(cluster, topology)
    for line in _not_installed(topology):
        yield line
    yield {"changes": [dataclasses.asdict(step) for step in steps], "message": ""}


async def scale(cluster: Cluster, args: Mapping[str, Any]) -> AsyncIterator[Line]:
    """Have `substations` own substations; those that go are drained first."""
    if cluster.topology is None:
        raise GridError("nothing runs yet")
    topology = cluster.topology.with_substations(int(args["substations"]))
    async for line in _converge(cluster, topology, cluster.source, args):
        yield line


def _chosen(cluster: Cluster, args: Mapping[str, Any], default_all: bool = False) -> list[Member]:
    names = list(cluster.members)
    patterns = list(args.get("names") or ())
    if not patterns and not default_all:
        raise Invalid("no process named", "name one or more, or a pattern such as 'substation*'")
    members = [cluster.members[name] for name in (select(patterns, names) if patterns else names)]
    ours = [member for member in members if member.spec.role != EXTERNAL]
    if patterns and not ours:
        raise Invalid(
            f"{', '.join(m.name for m in members)}: external, not ours to control", "name a process of this grid"
        )
    return ours


def _staying(cluster: Cluster, args: Mapping[str, Any]) -> list[Member]:
    """The chosen ones (all, unless named) without those that are about to leave."""
    chosen = _chosen(cluster, args, default_all=True)
    staying = [member for member in chosen if not member.leaving]
    if chosen and not staying:
        raise GridError(f"{', '.join(m.name for m in chosen)}: leaving the grid", "to keep it: gridctl scale, or up")
    return staying


async def start(cluster: Cluster, args: Mapping[str, Any]) -> AsyncIterator[Line]:
    """Start what is STOPPED, FATAL or in BACKOFF, and wait until it is READY."""
    members = _staying(cluster, args)
    for member in members:
        cluster.post(member.name, Start())
    names = [member.name for member in members]
    await _taken_up(cluster)
    async for line in all_ready(cluster, names, set(names), {}, float(args.get("wait_timeout_s", 60.0))):
        yield line


async def stop(cluster: Cluster, args: Mapping[str, Any]) -> AsyncIterator[Line]:
    """Stop, and stay down; with `drain`, substations end their sessions first."""
    members = _chosen(cluster, args, default_all=True)
    patience = _patience(args)
    async for line in _stop(cluster, members, patience, bool(args.get("drain"))):
        yield line


async def _stop(cluster: Cluster, members: list[Member], patience: Patience, drain: bool) -> AsyncIterator[Line]:
    event = Stop(patience.stop_timeout_s)
    for member in members:
        draining = drain and member.spec.role == SUBSTATION
        cluster.post(member.name, Drain(patience.drain_timeout_s, event) if draining else event)
    await _taken_up(cluster)
    names = [member.name for member in members]
    async for line in until(cluster, names, lambda member: member.state in RESTING, Outcome([])):
        yield line


async def restart(cluster: Cluster, args: Mapping[str, Any]) -> AsyncIterator[Line]:
    """Restart all named at once, or (`rolling`) one after the other; with `drain`, each substation once it is empty."""
    members = _staying(cluster, args)
    if not args.get("rolling"):
        async for line in _restart(cluster, members, args, drain=bool(args.get("drain"))):
            yield line
        return
    for member in members:
        if member.leaving or cluster.stopping:
            continue
        async for line in _restart(cluster, [member], args, drain=bool(args.get("drain"))):
            yield line
        await _until_routable(cluster, {member.name})


async def _until_routable(cluster: Cluster, names: set[str]) -> None:
    """Until the balancer would choose those substations of `names` that are READY, for a moment; it need not live."""
    give_up = time.monotonic() + ROUTABLE_S
    while ready := {m.name for m in cluster.by_role(SUBSTATION) if m.name in names and m.state is State.READY}:
        if ready <= await cluster.routable() or time.monotonic() >= give_up:
            return
        await cluster.changed(ROUTABLE_STEP_S)


async def _restart(
    cluster: Cluster, members: list[Member], args: Mapping[str, Any], drain: bool
) -> AsyncIterator[Line]:
    patience = _patience(args)
    before = {member.name: member.life.restarts for member in members if member.state not in RESTING}
    event = Stop(patience.stop_timeout_s, again=True)
    for member in members:
        draining = drain and member.spec.role == SUBSTATION
        cluster.post(member.name, Drain(patience.drain_timeout_s, event) if draining else event)
    await _taken_up(cluster)
    names = [member.name for member in members]
    timeout_s = float(args.get("wait_timeout_s", 60.0)) + (patience.drain_timeout_s if drain else 0.0)
    async for line in all_ready(cluster, names, set(names), before, timeout_s):
        yield line


async def kill(cluster: Cluster, args: Mapping[str, Any]) -> AsyncIterator[Line]:
    """Send a signal (`signal`, a name or a number): a crash, so the service comes back."""
    number = signal_number(str(args.get("signal", "KILL")))
    for member in _chosen(cluster, args):
        if member.life.pid is None:
            yield {"name": member.name, "message": f"{member.name} has no process ({member.state})"}
            continue
        yield {"name": member.name, "message": f"{signal.Signals(number).name} → {member.name} (pid {member.life.pid})"}
        cluster.post(member.name, Kill(number))
    await _taken_up(cluster)


def signal_number(word: str) -> int:
    """The number of `KILL`, `SIGKILL` or `9`; Invalid for anything else."""
    try:
        return (
            signal.Signals(int(word)).value
            if word.isdigit()
            else signal.Signals["SIG" + word.upper().removeprefix("SIG")].value
        )
    except (KeyError, ValueError):
        raise Invalid(f"unknown signal {word!r}", "use a name or a number: KILL, TERM, INT, STOP, 9, …") from None


async def pause(cluster: Cluster, args: Mapping[str, Any]) -> AsyncIterator[Line]:
    """Freeze with SIGSTOP: the process is there and does not answer."""
    async for line in _switch(cluster, args, Pause(), State.PAUSED):
        yield line


async def unpause(cluster: Cluster, args: Mapping[str, Any]) -> AsyncIterator[Line]:
    """Let paused processes go on."""
    async for line in _switch(cluster, args, Unpause(), State.READY):
        yield line


async def _switch(cluster: Cluster, args: Mapping[str, Any], event: Event, goal: State) -> AsyncIterator[Line]:
    members = _chosen(cluster, args)
    for member in members:
        cluster.post(member.name, event)
    await _taken_up(cluster)
    wrong = [f"{member.name} is {member.state}" for member in members if member.state is not goal]
    for member in members:
        if member.state is goal:
            yield {"name": member.name, "state": goal, "message": f"{member.name} {goal}"}
    if wrong:
        raise GridError("; ".join(wrong), "pause takes a READY or UNHEALTHY process, unpause a PAUSED one")


async def down(cluster: Cluster, args: Mapping[str, Any]) -> AsyncIterator[Line]:
    """Stop everything: the request service, the balancer, then the substations (with `drain`, once their sessions ended)."""
    patience = _patience(args)
    cluster.stopping = True
    if patience.stop_timeout_s == 0:
        everyone = list(cluster.by_role(*(member.spec.role for member in cluster.members.values())))
        async for line in _stop(cluster, everyone, patience, drain=False):
            yield line
    for group in ordered_for_stop(cluster.members.values()):
        async for line in _stop(cluster, group, patience, bool(args.get("drain"))):
            yield line
    cluster.finished.set()


async def _taken_up(cluster: Cluster) -> None:
    """Until the loop has taken up what was posted so far."""
    await cluster.idle()
    await asyncio.sleep(0)


Verb = Callable[[Cluster, Mapping[str, Any]], AsyncIterator[Line]]

VERBS: dict[str, Verb] = {
    "apply": apply,
    "plan": show_plan,
    "scale": scale,
    "start": start,
    "stop": stop,
    "restart": restart,
    "kill": kill,
    "pause": pause,
    "unpause": unpause,
    "down": down,
    "faults": faults,
    "derate": derate,
}
