"""The topology: what a user declares of a cluster. Must not know files, ports in use or processes.

Every key is optional. Charging times are grid seconds, everything of HTTP is wall seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from config import policies
from config.fields import (
    METRIC_PATTERN,
    URL_PATTERN,
    GridSeconds,
    Kilowatts,
    Name,
    Part,
    Policy,
    Port,
    ScrapeSeconds,
    Sessions,
    TimeScale,
    WallSeconds,
    nullable_schema,
    or_empty,
)
from config.names import REPLICA_PATTERN, RESERVED
from config.rules import OWN_ONLY, breaks, key_of
from config.settings import MAX_WORKERS, Admission, Durability

#: `substations: N` spells out this many at most.
MAX_SUBSTATIONS = 10_000
#: The gauge of an external substation that names none.
DEFAULT_LOAD_METRIC = "substation_current_load"
#: The type of the error by which a `Topology` refuses what `config.rules` finds.
RULE_ERROR = "topology_rule"
#: More balancers than this are of no use to one machine.
MAX_BALANCERS = 16


class RequestService(Part):
    """The charge-request service: where EVs ask for a charge (`POST /charge`)."""

    port: Port | None = Field(
        None,
        description="Its port. Unset: 8080, or a free one where that is taken. A port that is set is never moved.",
        examples=[8080],
    )
    request_timeout_s: WallSeconds = Field(
        10.0, description="What bounds every client's wait for an answer, in wall seconds.", examples=[10]
    )
    workers: Annotated[int, Field(ge=1, le=MAX_WORKERS, strict=True)] | None = Field(
        None,
        description="How many processes answer on its port. More than one are named charge-request, charge-request2, …"
        " and each has a port for its own metrics too. Unset: half as many as the machine has cores, at most 4, and at"
        " most two for each balancer.",
        examples=[1, 4],
    )


class Balancer(Part):
    """The load balancer: which substation an EV is sent to."""

    port: Port | None = Field(
        None,
        description="Its port. Unset: 8081, or a free one where that is taken. A port that is set is never moved.",
        examples=[8081],
    )
    policy: Policy = Field(
        policies.DEFAULT,
        description="How a substation is chosen; `gridctl policies` says what each does.",
        examples=["ledger", "round-robin"],
    )
    poll_interval_s: WallSeconds = Field(
        5.0,
        description="How often every substation's report (an external one's /metrics) is read, in wall seconds.",
        examples=[5],
    )
    replicas: Annotated[int, Field(ge=1, le=MAX_BALANCERS, strict=True)] = Field(
        1,
        description="How many balancers share the work. More than one are named balancer, balancer2, … and take ports"
        " from `port` on; each EV is placed by one of them, and by another one where that dies.",
        examples=[1],
    )
    admission: Admission = Field(
        "reject",
        description="What happens to a request when all is full: `reject` answers 503, `queue` lets it wait.",
        examples=["reject", "queue"],
    )
    queue_limit: Annotated[int, Field(ge=1, le=10**6, strict=True)] = Field(
        10_000, description="With `admission: queue`: how many requests may wait at once.", examples=[10000]
    )
    max_wait_s: GridSeconds = Field(
        600.0,
        description="With `admission: queue`: how long a request that names no departure may wait, in grid seconds.",
        examples=[600],
    )


class Defaults(Part):
    """What a substation has unless it says otherwise."""

    max_sessions: Sessions = Field(10, description="How many sessions run at once at most.", examples=[10])
    capacity_kw: Kilowatts | None = Field(
        None, description="How many kW all sessions together may take. Unset: no such limit.", examples=[74]
    )
    session_s: GridSeconds = Field(
        30.0,
        description="How long a session lasts whose request says nothing of energy, duration or departure: grid seconds.",
        examples=[30],
    )
    power_kw: Kilowatts = Field(
        7.4, description="The power in kW of a session whose request names none.", examples=[7.4, 11, 22]
    )
    hard_limit: Annotated[bool, Field(strict=True)] = Field(
        True,
        description="Whether substations refuse what exceeds their limits. `false` is for teaching only: all is taken,"
        " and substations can be overloaded.",
        examples=[True],
    )


class Monitoring(Part):
    """What watches the grid from beside it, where those programs are installed: Prometheus, and Grafana to look at it."""

    prometheus: Annotated[bool, Field(strict=True)] = Field(
        False, description="Whether `up` starts a Prometheus that watches this grid.", examples=[True]
    )
    prometheus_port: Port | None = Field(
        None,
        description="Its port. Unset: 9090, or a free one where that is taken. A port that is set is never moved.",
        examples=[9090],
    )
    grafana: Annotated[bool, Field(strict=True)] = Field(
        False,
        description="Whether `up` starts a Grafana with dashboards of this grid, and the Prometheus that it asks.",
        examples=[True],
    )
    grafana_port: Port | None = Field(
        None,
        description="Its port. Unset: 3000, or a free one where that is taken. A port that is set is never moved.",
        examples=[3000],
    )
    scrape_interval_s: ScrapeSeconds = Field(
        5.0, description="How often Prometheus reads every service's /metrics, in wall seconds.", examples=[5]
    )


def _external_schema(schema: dict[str, Any]) -> None:
    """Tells editors what `config.rules` says of `url`, as far as JSON Schema can."""
    schema["if"] = {"properties": {"url": {"type": "string"}}, "required": ["url"]}
    nothing: dict[str, JsonValue] = {key: {"type": "null"} for key in OWN_ONLY}
    schema["then"] = {"properties": nothing}
    schema["else"] = {"properties": {"load_metric": {"type": "null"}}}


class Substation(Part):
    """One substation; with `url` an external one: any HTTP service with `POST /charge` and a gauge."""

    model_config = ConfigDict(json_schema_extra=_external_schema)

    name: Name = Field(
        description="Its name in tables, files and metrics, used once: A-Z a-z 0-9 . _ -, not starting with a dot.",
        examples=["substation1", "harbour"],
        json_schema_extra={"not": {"anyOf": [{"enum": [*sorted(RESERVED)]}, {"pattern": REPLICA_PATTERN}]}},
    )
    port: Port | None = Field(
        None,
        description="Its port. Unset: the next from 9001 on, or a free one. A port that is set is never moved.",
        examples=[9001],
    )
    max_sessions: Sessions | None = Field(
        None, description="How many sessions run at once at most. Unset: as in `defaults`.", examples=[10]
    )
    capacity_kw: Kilowatts | None = Field(
        None, description="How many kW all sessions together may take. Unset: as in `defaults`.", examples=[74]
    )
    session_s: GridSeconds | None = Field(
        None,
        description="How long a session lasts by default, in grid seconds. Unset: as in `defaults`.",
        examples=[30],
    )
    power_kw: Kilowatts | None = Field(
        None,
        description="The power in kW of a session whose request names none. Unset: as in `defaults`.",
        examples=[11],
    )
    url: Annotated[str, Field(pattern=URL_PATTERN)] | None = Field(
        None,
        description="Makes it external: the http(s)://HOST:PORT of a service that is not started here, only used.",
        examples=["http://127.0.0.1:7601"],
    )
    load_metric: Annotated[str, Field(pattern=METRIC_PATTERN)] | None = Field(
        None,
        description=f"With `url`: the Prometheus gauge of its sessions at /metrics. Unset: {DEFAULT_LOAD_METRIC}.",
        examples=["current_load"],
    )


def numbered(count: int) -> list[dict[str, Any]]:
    """`count` substations named substation1, substation2, …"""
    return [{"name": f"substation{index}"} for index in range(1, count + 1)]


def spell_out(value: Any) -> Any:
    """`substations: N` as the list of N that it stands for; anything else as it is."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SUBSTATIONS:
        return numbered(value)
    return value


def _list_or_number_schema(schema: dict[str, Any]) -> None:
    listed = {key: schema.pop(key) for key in ("type", "items", "maxItems")}
    schema["anyOf"] = [listed, {"type": "integer", "minimum": 0, "maximum": MAX_SUBSTATIONS}]


class Topology(Part):
    """A cluster: its services, its substations, its limits. Every key is optional."""

    name: Name | None = Field(
        None,
        description="The cluster's name, for `--name`. Unset: the name of the folder that this file is in.",
        examples=["city"],
    )
    time_scale: TimeScale = Field(
        1.0, description="Grid seconds per wall second: at 60 a real minute is an hour of the grid.", examples=[1, 60]
    )
    durability: Durability = Field(
        "fsync",
        description="What the journals of sessions survive: `fsync` a power cut too, `process` (faster) the end of any"
        " process.",
        examples=["fsync", "process"],
    )
    request_service: Annotated[RequestService, BeforeValidator(or_empty)] = Field(
        default_factory=RequestService,
        description="The charge-request service: where EVs ask for a charge.",
        json_schema_extra=nullable_schema,
    )
    balancer: Annotated[Balancer, BeforeValidator(or_empty)] = Field(
        default_factory=Balancer,
        description="The load balancer: which substation an EV is sent to.",
        json_schema_extra=nullable_schema,
    )
    defaults: Annotated[Defaults, BeforeValidator(or_empty)] = Field(
        default_factory=Defaults,
        description="What a substation has unless it says otherwise.",
        json_schema_extra=nullable_schema,
    )
    monitoring: Annotated[Monitoring, BeforeValidator(or_empty)] = Field(
        default_factory=Monitoring,
        description="What watches the grid from beside it.",
        json_schema_extra=nullable_schema,
    )
    substations: Annotated[tuple[Substation, ...], BeforeValidator(spell_out)] = Field(
        default_factory=lambda: tuple(Substation(**entry) for entry in numbered(3)),
        max_length=MAX_SUBSTATIONS,
        description="A list of substations, or just how many (named substation1, substation2, …). Unset: 3.",
        examples=[3, [{"name": "substation1", "port": 9001, "capacity_kw": 74}]],
        json_schema_extra=_list_or_number_schema,
    )

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        broken = breaks(self.model_dump())
        if broken:
            text = "; ".join(f"{key_of(it.path)}: found {it.found}; allowed: {it.allowed}" for it in broken)
            raise PydanticCustomError(RULE_ERROR, "{text}", {"text": text})
        return self

    def with_substations(self, count: int) -> Topology:
        """The same topology with `count` (≥ 0) own substations: new ones take the lowest free names, the last go first.

        External substations are kept as they are.
        """
        own = [entry for entry in self.substations if entry.url is None]
        external = [entry for entry in self.substations if entry.url is not None]
        taken = {entry.name.casefold() for entry in self.substations}
        index = 1
        kept = own[:count]
        while len(kept) < count:
            name = f"substation{index}"
            index += 1
            if name not in taken:
                kept.append(Substation(name=name))
        return self.model_copy(update={"substations": (*kept, *external)})

    def with_balancers(self, count: int) -> Topology:
        """The same topology with `count` (≥ 1) balancers where it does not say how many itself: `replicas: 1` stays one."""
        if "replicas" in self.balancer.model_fields_set:
            return self
        return self.model_copy(update={"balancer": self.balancer.model_copy(update={"replicas": count})})
