"""What each service is told at start: frozen, flat, JSON-able. Must not know where the values came from.

The launcher fills these from the topology's plan, `gridctl serve ROLE` from flags and environment.
Charging times are grid seconds, everything of HTTP is wall seconds (see `time_scale`: grid seconds per wall second).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from config.policies import DEFAULT

#: What a journal must survive: `fsync` a power cut, `process` the end of the process that writes it.
Durability = Literal["fsync", "process"]
#: What a balancer does with a request when all is full.
Admission = Literal["reject", "queue"]
#: More processes than this do not answer on one port.
MAX_WORKERS = 16


@dataclass(frozen=True, slots=True)
class SubstationSettings:
    """A substation's limits and defaults.

    `max_sessions` sessions at once and, unless None, `capacity_kw` at once are its hard limits; a session that says
    nothing of itself lasts `session_s` grid seconds at `power_kw`. `journal` is the path of its SQLite file (None: in
    memory only); `durability` says what it must survive: `fsync` a power cut, `process` the end of the process.
    Without `hard_limit` it takes every session, over its limits too: for teaching only. With `journal_dir` it adopts one
    of the journals there instead, and is called after that (`<name>-<k>`). On SIGTERM it goes on for at most `drain_s`
    wall seconds until its sessions ended, and takes no new ones.
    """

    name: str = "substation1"
    max_sessions: int = 10
    capacity_kw: float | None = None
    session_s: float = 30.0
    power_kw: float = 7.4
    time_scale: float = 1.0
    journal: str | None = None
    durability: str = "fsync"
    hard_limit: bool = True
    journal_dir: str | None = None
    drain_s: float = 0.0


@dataclass(frozen=True, slots=True)
class BalancerSettings:
    """A balancer's policy and where it finds substations: a Prometheus `file_sd` file, a static list, or DNS.

    `substations_dns` is a `host:port`: every address behind that name is a substation, which says itself what it is called.
    Each of `substations` is `host:port`, `name=host:port`, or `name=URL[#gauge]` (a gauge makes it external).
    `poll_interval_s` and `request_timeout_s` are wall seconds; `seed` None means unseeded. With `admission` `queue` at
    most `queue_limit` requests wait where all is full, for `max_wait_s` grid seconds unless they depart earlier.
    `peers` are the URLs of all balancers of the grid, this one's `url` among them. `journal` and `durability`: as for
    substations. One that knows the names of all `replicas` takes over what others left in journals beside its own.
    `cluster` is a label in `GET /targets`.
    """

    name: str = "balancer"
    policy: str = DEFAULT
    poll_interval_s: float = 5.0
    request_timeout_s: float = 10.0
    targets_file: str | None = None
    substations: tuple[str, ...] = ()
    substations_dns: str | None = None
    cluster: str | None = None
    session_s: float = 30.0
    power_kw: float = 7.4
    time_scale: float = 1.0
    seed: int | None = None
    journal: str | None = None
    durability: str = "fsync"
    admission: str = "reject"
    queue_limit: int = 10_000
    max_wait_s: float = 600.0
    peers: tuple[str, ...] = ()
    url: str = ""
    replicas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChargeRequestSettings:
    """The charge-request service: which balancers it asks, and how long any client waits at most (wall seconds).

    `gridctl serve` runs so many `workers` of it on its port; the launcher starts each by itself.
    """

    name: str = "charge-request"
    balancers: tuple[str, ...] = ("http://127.0.0.1:8081",)
    request_timeout_s: float = 10.0
    time_scale: float = 1.0
    workers: int = 1


Settings = SubstationSettings | BalancerSettings | ChargeRequestSettings

_BY_ROLE: dict[str, type[SubstationSettings] | type[BalancerSettings] | type[ChargeRequestSettings]] = {
    CHARGE_REQUEST: ChargeRequestSettings,
    BALANCER: BalancerSettings,
    SUBSTATION: SubstationSettings,
}


def settings_to_json(settings: Settings) -> dict[str, Any]:
    """The settings as a dict that JSON can carry."""
    return asdict(settings)


def settings_from_json(role: str, values: Mapping[str, Any]) -> Settings:
    """The settings of `role` from what `settings_to_json` gave; KeyError for an unknown role, TypeError for a key."""
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return _BY_ROLE[role](**plain)
