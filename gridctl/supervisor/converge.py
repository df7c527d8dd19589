"""Makes the running cluster what a topology declares, touching only what changed. Must not know who asked."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from config.errors import InUse
from config.names import CHARGE_REQUEST, EXTERNAL, SUBSTATION, WATCHERS
from config.plan import Change, ProcessSpec, changes, launched
from config.topology import Topology
from gridctl.identity import identify
from gridctl.kernel import cores
from gridctl.programs import installed
from gridctl.supervisor.cluster import Cluster
from gridctl.supervisor.happenings import Drain, Kill, Start, State, Stop
from gridctl.supervisor.member import Member, Successor
from gridctl.supervisor.sockets import HeldSocket, hold
from gridctl.supervisor.targets import write_atomically
from gridctl.supervisor.watching import configure_prometheus


@dataclass(frozen=True, slots=True)
class Patience:
    """How long leaving services may take, in wall seconds: to drain their sessions, and to stop."""

    drain_timeout_s: float = 60.0
    stop_timeout_s: float = 10.0


def plan(cluster: Cluster, topology: Topology) -> tuple[tuple[ProcessSpec, ...], list[Change]]:
    """What `topology` wants to run, as far as it is installed here, and the steps from what runs now."""
    paths = cluster.paths
    wanted, _ = installed(launched(topology, str(paths.targets), str(paths.data), cores()))
    return tuple(wanted), changes(cluster.specs(), wanted)


def check_source(cluster: Cluster, source: str, force: bool) -> None:
    """InUse when the cluster was started from another topology than `source`, unless forced."""
    if cluster.source and cluster.source != source and not force:
        raise InUse(
            f"cluster {cluster.paths.name!r} runs already, started from {cluster.source}; this is {source}",
            "choose another name (--name), stop the other one (gridctl down), or make it follow this one (--force)",
        )


def converge(cluster: Cluster, topology: Topology, source: str, patience: Patience) -> list[Change]:
    """Start, restart and drain what differs; returns the steps taken. Does not wait for them.

    Every new port is bound first: InUse or GridError leaves the cluster as it was. OSError: the record cannot be written.
    """
    wanted, steps = plan(cluster, topology)
    by_name = {spec.name: spec for spec in wanted}
    sockets = _bind_all(
        cluster, [by_name[step.name] for step in steps if step.action in {"start", "restart", "reload"}]
    )
    try:
        write_record(cluster, topology, source)
    except OSError:
        _close_all(sockets)
        raise
    cluster.topology, cluster.source = topology, source
    for step in steps:
        _take(cluster, step, by_name.get(step.name), sockets.get(step.name), patience)
    cluster.publish()
    _journal(cluster, sockets, by_name)
    return steps


def _bind_all(cluster: Cluster, specs: Sequence[ProcessSpec]) -> dict[str, HeldSocket]:
    sockets: dict[str, HeldSocket] = {}
    try:
        for spec in specs:
            if spec.role != EXTERNAL and _needs_socket(cluster, spec):
                fresh = [sockets[each.name] for each in specs if each.name in sockets and each.role == spec.role]
                sockets[spec.name] = _bind(cluster, spec, fresh)
    except BaseException:
        _close_all(sockets)
        raise
    return sockets


def _needs_socket(cluster: Cluster, spec: ProcessSpec) -> bool:
    member = cluster.members.get(spec.name)
    if member is None or member.next_held is None:
        return True
    if (spec.worker is None) != (member.next_held.beside is None):
        return True
    return spec.port_fixed and not member.has_port(spec.port)


def _bind(cluster: Cluster, spec: ProcessSpec, fresh: Sequence[HeldSocket]) -> HeldSocket:
    """The socket of `spec`: a share of the one that other workers have, or its own; and its metrics' own beside it."""
    running = (held for member in cluster.by_role(CHARGE_REQUEST) if (held := member.next_held) is not None)
    others = (*fresh, *running) if spec.role == CHARGE_REQUEST else ()
    shared = next((held for held in others if held.port == spec.port or not spec.port_fixed), None)
    held = hold(spec.name, spec.host, spec.port, spec.port_fixed) if shared is None else shared.share()
    if spec.role in WATCHERS:
        held.lend()
    if spec.metrics_port is not None:
        try:
            held.beside = hold(f"{spec.name}'s metrics", spec.host, spec.metrics_port, fixed=False)
        except BaseException:
            held.close()
            raise
    return held


def _close_all(sockets: dict[str, HeldSocket]) -> None:
    for held in sockets.values():
        held.close()


def _take(
    cluster: Cluster, step: Change, spec: ProcessSpec | None, held: HeldSocket | None, patience: Patience
) -> None:
    if step.action == "keep":
        return
    again = Stop(patience.stop_timeout_s, again=True)
    member = cluster.members.get(step.name)
    if step.action == "stop" and member is not None:
        _dismiss(cluster, member, None, patience)
    elif step.action == "start" and member is None and spec is not None:
        cluster.add(spec, held)
        cluster.post(step.name, Start())
    elif member is not None and spec is not None and member.spec.role != spec.role:
        _dismiss(cluster, member, (spec, held), patience)
    elif member is not None and spec is not None:
        if _stays_as_it_is(member, spec, held):
            cluster.post(step.name, Start())
        elif step.action != "reload" or not _reloads(cluster, member, spec):
            member.succeed_by(spec, held)
            cluster.post(step.name, again)


def _stays_as_it_is(member: Member, spec: ProcessSpec, held: HeldSocket | None) -> bool:
    """Whether `member`, which may have been about to leave and does not any more, runs what is wanted already."""
    came_back = member.leaving
    member.leave(on=False)
    unchanged = changes([member.spec], [spec])[0].action == "keep"
    return came_back and unchanged and held is None and member.successor is None


def _reloads(cluster: Cluster, member: Member, spec: ProcessSpec) -> bool:
    """Whether the running Prometheus is told to read its files anew. Where it cannot be, a restart tells it, or says why."""
    if member.state is not State.READY or member.successor is not None or spec.watching is None:
        return False
    try:
        configure_prometheus(spec.watching, cluster.paths)
    except OSError:
        return False
    member.spec = spec
    cluster.post(member.name, Kill(signal.SIGHUP))
    return True


def _dismiss(cluster: Cluster, member: Member, heir: Successor | None, patience: Patience) -> None:
    member.leave(on=True, heir=heir)
    if member.state is State.STOPPED:
        cluster.remove(member)
        return
    stop = Stop(patience.stop_timeout_s)
    drains = member.spec.role == SUBSTATION
    cluster.post(member.name, Drain(patience.drain_timeout_s, stop, drop=True) if drains else stop)


def _journal(cluster: Cluster, sockets: dict[str, HeldSocket], specs: dict[str, ProcessSpec]) -> None:
    for name, held in sockets.items():
        moved = held.port != specs[name].port
        cluster.journal.add("port", name=name, port=held.port, wanted=specs[name].port, moved=moved)


def write_record(cluster: Cluster, topology: Topology, source: str) -> None:
    """`cluster.json`: who runs this cluster and from what; OSError if it cannot be written."""
    record: dict[str, Any] = {
        "name": cluster.paths.name,
        "supervisor_pid": os.getpid(),
        "identity": identify(os.getpid()),
        "control_socket": str(cluster.paths.control_socket),
        "source": source,
        "topology": topology.model_dump(mode="json", exclude_defaults=True),
    }
    write_atomically(cluster.paths.record, record)
