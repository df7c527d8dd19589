"""The cluster as one JSON document, for `ps`, `top` and tests; must not know who asks. `docs/json.md` describes it."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from config.names import BALANCER, CHARGE_REQUEST
from gridctl.supervisor.cluster import Cluster
from gridctl.supervisor.happenings import State
from gridctl.supervisor.member import Member

if TYPE_CHECKING:
    import psutil

#: Grid loading, in percent, from which the grid counts as strained; above 100 anywhere it is overloaded.
STRAINED_PCT = 80.0


@dataclass(slots=True)
class Sampler:
    """CPU and memory of processes by psutil; CPU is percent of one core since the sample before."""

    _known: dict[int, psutil.Process] = field(default_factory=dict)

    def sample(self, pids: Iterable[int]) -> dict[int, tuple[float, int]]:
        """PID → (cpu percent, resident bytes); a process that is gone is left out."""
        import psutil  # noqa: PLC0415 - not before somebody wants to know, which is when all is up

        wanted = set(pids)
        self._known = {pid: process for pid, process in self._known.items() if pid in wanted}
        found = {}
        for pid in wanted:
            try:
                process = self._known.setdefault(pid, psutil.Process(pid))
                with process.oneshot():
                    found[pid] = (process.cpu_percent(), process.memory_info().rss)
            except psutil.Error:
                self._known.pop(pid, None)
        return found


@dataclass(slots=True)
class Snapshots:
    """Makes snapshots of `cluster`; `sampler` is asked at most each 0.4 s, so that two watchers cost no more than one."""

    cluster: Cluster
    sampler: Sampler = field(default_factory=Sampler)
    _usage: dict[int, tuple[float, int]] = field(default_factory=dict)
    _sampled: float = float("-inf")

    def take(self, usage: bool = True) -> dict[str, Any]:
        """The document, as of now; CPU and memory are looked at only with `usage`."""
        now = time.monotonic()
        if usage and now - self._sampled >= 0.4:
            pids = [m.life.pid for m in self.cluster.members.values() if m.life.pid is not None]
            self._usage, self._sampled = self.sampler.sample(pids), now
        members = list(self.cluster.members.values())
        substations = [self._substation(m, now) for m in members if m.is_substation]
        return {
            "cluster": self._cluster(members, now),
            "grid": self._grid(members, substations, now),
            "processes": [self._process(m, now) for m in sorted(members, key=_table_order)],
            "substations": substations,
        }

    def _cluster(self, members: list[Member], now: float) -> dict[str, Any]:
        cluster = self.cluster
        return {
            "name": cluster.paths.name,
            "state": State.STOPPING if cluster.stopping else overall(members),
            "supervisor_pid": os.getpid(),
            "zygote_pid": cluster.zygote.pid,
            "state_dir": str(cluster.paths.folder),
            "uptime_s": round(now - cluster.started_at, 3),
            "time_scale": cluster.topology.time_scale if cluster.topology else 1.0,
            "source": cluster.source,
        }

    def _used(self, member: Member) -> tuple[float | None, int | None]:
        cpu_pct, rss_bytes = self._usage.get(member.life.pid or -1, (None, None))
        return (round(cpu_pct, 1) if cpu_pct is not None else None), rss_bytes

    def _process(self, member: Member, now: float) -> dict[str, Any]:
        cpu_pct, rss_bytes = self._used(member)
        host, port = (member.held.host, member.held.port) if member.held else (None, None)
        return {
            "name": member.name,
            "role": member.spec.role,
            "state": member.state,
            "pid": member.life.pid,
            "identity": member.identity,
            "host": host,
            "port": port,
            "url": member.url,
            "own_url": member.own_url,
            "restarts": member.life.restarts,
            "uptime_s": round(now - member.spawned_at, 3) if member.spawned_at is not None else None,
            "cpu_pct": cpu_pct,
            "rss_bytes": rss_bytes,
            "reason": member.life.reason or None,
        }

    def _substation(self, member: Member, now: float) -> dict[str, Any]:
        cpu_pct, rss_bytes = self._used(member)
        keys = ("sessions", "max_sessions", "load_kw", "capacity_kw", "load_pct")
        return {
            "name": member.name,
            "state": member.state,
            "external": member.external,
            **{key: member.health.get(key) for key in keys},
            "arrivals_per_s": round(member.arrivals.per_s(now), 3),
            "refused_total": int(member.refusals.total),
            "history": [round(value, 1) for value in member.loads.values],
            "cpu_pct": cpu_pct,
            "rss_bytes": rss_bytes,
            "restarts": member.life.restarts,
        }

    def _grid(self, members: list[Member], rows: list[dict[str, Any]], now: float) -> dict[str, Any]:
        workers = [m for m in members if m.spec.role == CHARGE_REQUEST]
        balancer = next((m for m in members if m.spec.role == BALANCER), None)
        answered: Counter[int] = Counter()
        for worker in workers:
            answered.update({status: int(meter.total) for status, meter in worker.answers.items()})
        sums = {key: _sum(rows, key) for key in ("sessions", "max_sessions", "load_kw", "capacity_kw")}
        if any(row["max_sessions"] and row["capacity_kw"] is None for row in rows):
            sums["capacity_kw"] = None  # one without a limit: the grid has none
        load_pct = loading_pct(rows)
        return {
            **sums,
            "load_pct": load_pct,
            "health": health_word(load_pct, [row["load_pct"] for row in rows if row["load_pct"] is not None]),
            "requests_per_s": round(sum(worker.arrivals.per_s(now) for worker in workers), 3),
            "accepted_total": answered[202],
            "rejected_total": answered[503],
            "failed_total": sum(number for status, number in answered.items() if status >= 500 and status != 503),
            "refusals_total": int(balancer.refusals.total) if balancer else 0,
        }


def _table_order(member: Member) -> int:
    return 3 if member.is_watcher else {CHARGE_REQUEST: 0, BALANCER: 1}.get(member.spec.role, 2)


def _sum(rows: list[dict[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    total = sum(values)
    return round(total, 3) if values else None


def loading_pct(rows: list[dict[str, Any]]) -> float:
    """Grid loading in percent: the larger of sessions over places and, where all declare kW limits, kW over capacity."""
    heard = [row for row in rows if row["max_sessions"]]
    places = sum(row["max_sessions"] for row in heard)
    by_sessions = sum(row["sessions"] or 0 for row in heard) / places if places else 0.0
    limited = [row for row in heard if row["capacity_kw"]]
    by_kw = 0.0
    if limited and len(limited) == len(heard):
        by_kw = sum(row["load_kw"] or 0 for row in limited) / sum(row["capacity_kw"] for row in limited)
    return round(100 * max(by_sessions, by_kw), 2)


def health_word(grid_pct: float, substations_pct: list[float]) -> str:
    """`overloaded` when any substation is above its limit, `strained` from 80 % grid loading, else `ok`."""
    if any(pct > 100.0 for pct in substations_pct):
        return "overloaded"
    return "strained" if grid_pct >= STRAINED_PCT else "ok"


def overall(members: Iterable[Member]) -> State:
    """A cluster's state from its members': the most telling of them. Where a stopped one is missed by all, UNHEALTHY.

    A grid is what it is, whoever watches it.
    """
    everyone = [member for member in members if not member.is_watcher]
    served = any(member.spec.role == CHARGE_REQUEST and member.state is not State.STOPPED for member in everyone)
    present = {State.UNHEALTHY if _closed(member, served) else member.state for member in everyone}
    order = (State.FATAL, State.UNHEALTHY, State.BACKOFF, State.STARTING, State.STOPPING, State.DRAINING, State.PAUSED)
    return next((state for state in order if state in present), State.READY)


def _closed(member: Member, served: bool) -> bool:
    """Whether it is stopped and missed: a worker is not while others answer in its place (`served`)."""
    return member.state is State.STOPPED and (
        member.spec.role == BALANCER or (member.spec.role == CHARGE_REQUEST and not served)
    )
