"""One pure expansion: topology → the flat list of processes that launcher and exporters start from.

Must not know which ports are free, what runs already, or how anything is started.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Literal

from config.names import BALANCER, CHARGE_REQUEST, EXTERNAL, GRAFANA, PROMETHEUS, SUBSTATION
from config.ports import (
    BALANCER_PORT,
    FIRST_METRICS_PORT,
    FIRST_SUBSTATION_PORT,
    GRAFANA_PORT,
    LOOPBACK,
    PROMETHEUS_PORT,
    REQUEST_PORT,
)
from config.rules import loopback_port
from config.settings import BalancerSettings, ChargeRequestSettings, Settings, SubstationSettings
from config.topology import DEFAULT_LOAD_METRIC, Substation, Topology


@dataclass(frozen=True, slots=True)
class Watching:
    """What a program that watches the grid is told: how often it looks, and how often balancers do (wall seconds)."""

    scrape_interval_s: float = 5.0
    poll_interval_s: float = 5.0


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process that should run, or (role `external`) one service elsewhere that is only watched.

    `port` is the one wanted; unless `port_fixed` the launcher may take a free one instead. `settings` is None and `url`
    set (without a slash at its end) for an external service only, whose gauge is `load_metric`. `max_sessions` and
    `capacity_kw` are what the topology says of an external one: its own hard limits, if it has any, are not known here.
    Somebody else's program that watches the grid (roles `prometheus`, `grafana`) has no settings, but `watching`.
    Of several workers that share `port`, `worker` is the number, from 0, and `metrics_port` the wanted port where it alone
    tells of itself; both are None where a process has its port to itself.
    """

    name: str
    role: str
    host: str
    port: int
    port_fixed: bool
    settings: Settings | None
    url: str | None = None
    load_metric: str | None = None
    max_sessions: int | None = None
    capacity_kw: float | None = None
    watching: Watching | None = None
    worker: int | None = None
    metrics_port: int | None = None


#: More workers than this are not taken unasked, nor more than so many for a balancer: a request costs it more CPU than a
#: worker (docs/performance.md), so that two bring more than it can place.
MOST_USUAL_WORKERS = 4
WORKERS_PER_BALANCER = 2


def launched(topology: Topology, targets_file: str, data_dir: str, cores: int = 1) -> tuple[ProcessSpec, ...]:
    """All that the launcher runs on a machine of `cores`: the grid, and then what watches it."""
    return (*processes(topology, targets_file, data_dir, cores), *watchers(topology))


def processes(
    topology: Topology, targets_file: str = "targets.json", data_dir: str | None = None, cores: int = 1
) -> tuple[ProcessSpec, ...]:
    """The grid as `expand` has it, the charge-request service as its workers: so many as `topology` says, or by `cores`."""
    specs = expand(topology, targets_file, data_dir)
    number = topology.request_service.workers or usual_workers(cores, topology.balancer.replicas)
    ports = _free_numbers(topology, FIRST_METRICS_PORT, (spec.port for spec in specs))
    return tuple(chain.from_iterable(_workers(spec, number, ports) for spec in specs))


def usual_workers(cores: int, balancers: int) -> int:
    """How many workers there are unless the topology says: balancers and substations need cores too."""
    return max(1, min(MOST_USUAL_WORKERS, cores // 2, WORKERS_PER_BALANCER * balancers))


def _workers(spec: ProcessSpec, number: int, ports: Iterator[int]) -> Iterator[ProcessSpec]:
    settings = spec.settings
    if not isinstance(settings, ChargeRequestSettings):
        yield spec
        return
    for worker in range(number):
        name = numbered(CHARGE_REQUEST, worker)
        own = replace(settings, name=name, workers=1)
        alone = number == 1
        yield replace(
            spec,
            name=name,
            settings=own,
            worker=None if alone else worker,
            metrics_port=None if alone else next(ports),
        )


def watchers(topology: Topology) -> tuple[ProcessSpec, ...]:
    """The programs of others that `topology` wants beside the grid: Prometheus, then Grafana, which asks it."""
    watching = Watching(topology.monitoring.scrape_interval_s, topology.balancer.poll_interval_s)
    return tuple(
        ProcessSpec(role, role, LOOPBACK, port or usual, port is not None, None, watching=watching)
        for role, port, usual in _wanted(topology)
    )


def _wanted(topology: Topology) -> Iterator[tuple[str, int | None, int]]:
    """Role, declared port and usual port of each watcher that is wanted."""
    declared = topology.monitoring
    if declared.prometheus or declared.grafana:
        yield PROMETHEUS, declared.prometheus_port, PROMETHEUS_PORT
    if declared.grafana:
        yield GRAFANA, declared.grafana_port, GRAFANA_PORT


def expand(
    topology: Topology, targets_file: str = "targets.json", data_dir: str | None = None
) -> tuple[ProcessSpec, ...]:
    """Every service of `topology`: substations in file order, then the balancers, then the charge-request service, once.

    `targets_file` is the `file_sd` file through which balancers find substations; `data_dir` is where journals lie, as
    `<name>.db` (None: there are none). Settings name the wanted ports of balancers; the launcher puts the real ones in,
    and each balancer's own `url`.
    """
    balancers = _balancer_ports(topology)
    ports = _free_numbers(topology, FIRST_SUBSTATION_PORT, balancers)
    own = tuple(_substation(topology, entry, ports, data_dir) for entry in topology.substations)
    urls = tuple(f"http://{LOOPBACK}:{port}" for port in balancers)
    placers = (_balancer(topology, number, urls, targets_file, data_dir) for number in range(len(balancers)))
    return (*own, *placers, _request_service(topology, urls))


def _free_numbers(topology: Topology, first: int, others: Iterable[int] = ()) -> Iterator[int]:
    taken = {entry.port for entry in topology.substations} | {loopback_port(it.url) for it in topology.substations}
    taken |= {topology.request_service.port or REQUEST_PORT, topology.balancer.port or BALANCER_PORT, *others}
    taken |= {port or usual for _, port, usual in _wanted(topology)}
    return (port for port in range(first, 65536) if port not in taken)


def _balancer_ports(topology: Topology) -> list[int]:
    """The wanted ports: the declared or default one, then the free ones that follow it."""
    first = topology.balancer.port or BALANCER_PORT
    more = chain(_free_numbers(topology, first + 1), _free_numbers(topology, FIRST_SUBSTATION_PORT))
    return [first, *islice(more, topology.balancer.replicas - 1)]


def _journal(data_dir: str | None, name: str) -> str | None:
    return None if data_dir is None else f"{data_dir}/{name}.db"


def _substation(topology: Topology, entry: Substation, ports: Iterator[int], data_dir: str | None) -> ProcessSpec:
    if entry.url is not None:
        return _external(entry, entry.url)
    defaults = topology.defaults
    settings = SubstationSettings(
        name=entry.name,
        max_sessions=entry.max_sessions or defaults.max_sessions,
        capacity_kw=entry.capacity_kw or defaults.capacity_kw,
        session_s=entry.session_s or defaults.session_s,
        power_kw=entry.power_kw or defaults.power_kw,
        time_scale=topology.time_scale,
        journal=_journal(data_dir, entry.name),
        durability=topology.durability,
        hard_limit=defaults.hard_limit,
    )
    port = entry.port or next(ports)
    return ProcessSpec(entry.name, SUBSTATION, LOOPBACK, port, entry.port is not None, settings)


def _external(entry: Substation, url: str) -> ProcessSpec:
    return ProcessSpec(
        name=entry.name,
        role=EXTERNAL,
        host="",
        port=0,
        port_fixed=True,
        settings=None,
        url=url.rstrip("/"),
        load_metric=entry.load_metric or DEFAULT_LOAD_METRIC,
        max_sessions=entry.max_sessions,
        capacity_kw=entry.capacity_kw,
    )


def _balancer(
    topology: Topology, number: int, urls: tuple[str, ...], targets_file: str, data_dir: str | None
) -> ProcessSpec:
    declared = topology.balancer
    names = tuple(numbered(BALANCER, each) for each in range(declared.replicas))
    name = names[number]
    settings = BalancerSettings(
        name=name,
        policy=declared.policy,
        poll_interval_s=declared.poll_interval_s,
        request_timeout_s=topology.request_service.request_timeout_s,
        targets_file=targets_file,
        session_s=topology.defaults.session_s,
        power_kw=topology.defaults.power_kw,
        time_scale=topology.time_scale,
        journal=_journal(data_dir, name),
        durability=topology.durability,
        admission=declared.admission,
        queue_limit=declared.queue_limit,
        max_wait_s=declared.max_wait_s,
        peers=urls if len(urls) > 1 else (),
        replicas=names if number == 0 and data_dir is not None else (),
    )
    fixed = declared.port is not None and number == 0
    port = int(urls[number].rpartition(":")[2])
    return ProcessSpec(name, BALANCER, LOOPBACK, port, fixed, settings)


def numbered(role: str, number: int) -> str:
    """The name of one of several, from 0. The first keeps its own, and so its port and journal, however many there are."""
    return role if number == 0 else f"{role}{number + 1}"


def _request_service(topology: Topology, balancers: tuple[str, ...]) -> ProcessSpec:
    declared = topology.request_service
    settings = ChargeRequestSettings(
        balancers=balancers,
        request_timeout_s=declared.request_timeout_s,
        time_scale=topology.time_scale,
        workers=declared.workers or 1,
    )
    port = declared.port or REQUEST_PORT
    return ProcessSpec(CHARGE_REQUEST, CHARGE_REQUEST, LOOPBACK, port, declared.port is not None, settings)


@dataclass(frozen=True, slots=True)
class Change:
    """One step from what runs to what should run, and why. A `reload` is a change that needs no new process."""

    action: Literal["start", "restart", "reload", "stop", "keep"]
    name: str
    role: str
    cause: str


def changes(running: Sequence[ProcessSpec], wanted: Sequence[ProcessSpec]) -> list[Change]:
    """What must happen so that `running` becomes `wanted`: stops first, then restarts and starts, then what is kept."""
    before = {spec.name: spec for spec in running}
    after = {spec.name: spec for spec in wanted}
    stops = [Change("stop", s.name, s.role, "not in the topology any more") for s in running if s.name not in after]
    steps = [_step(before.get(spec.name), spec) for spec in wanted]
    return stops + [step for step in steps if step.action != "keep"] + [s for s in steps if s.action == "keep"]


def _step(old: ProcessSpec | None, new: ProcessSpec) -> Change:
    if old is None:
        return Change("start", new.name, new.role, "in the topology and not running")
    causes = _differences(old, new)
    if causes:
        return Change("reload" if _reads_again(old, new) else "restart", new.name, new.role, ", ".join(causes))
    return Change("keep", new.name, new.role, "unchanged")


def _reads_again(old: ProcessSpec, new: ProcessSpec) -> bool:
    """Whether all that differs stands in files that the program reads anew when it is told to, as Prometheus does."""
    return new.role == PROMETHEUS and not _differences(replace(old, watching=new.watching), new)


def _differences(old: ProcessSpec, new: ProcessSpec) -> list[str]:
    causes = []
    if old.role != new.role:
        causes.append(f"role {old.role} → {new.role}")
    if new.port_fixed and old.port != new.port:
        causes.append(f"port {old.port} → {new.port}")
    if (old.worker is None) != (new.worker is None):
        causes.append("shares its port with other workers" if old.worker is None else "has its port to itself")
    watched = ("url", "load_metric", "max_sessions", "capacity_kw")
    causes += _changed(old, new, watched if old.role == new.role else ())
    if old.watching is not None and new.watching is not None:
        causes += _changed(old.watching, new.watching, Watching.__dataclass_fields__)
    if old.settings != new.settings and old.settings is not None and new.settings is not None:
        causes += _changed(old.settings, new.settings, type(new.settings).__dataclass_fields__)
    return causes


def _changed(old: object, new: object, fields: Iterable[str]) -> list[str]:
    pairs = [(field, getattr(old, field, None), getattr(new, field)) for field in fields]
    return [f"{field} {_shown(was)} → {_shown(now)}" for field, was, now in pairs if was != now]


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
