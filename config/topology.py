"""The topology: what a user declares of a cluster. Must not know files, ports in use or processes.

Every key is optional. Charging times are grid seconds, everything of HTTP is wall seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from config.names import NAME_PATTERN

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
Sessions = Annotated[int, Field(ge=1, le=10**9, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Policy = Literal["least-loaded", "round-robin", "random"]


class Part(BaseModel):
    """What all parts of a topology share: frozen, and no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RequestService(Part):
    """The charge-request service; `request_timeout_s` bounds every client's wait (wall seconds)."""

    port: Port | None = None
    request_timeout_s: Positive = 10.0


class Balancer(Part):
    """The load balancer; it polls every substation each `poll_interval_s` wall seconds."""

    port: Port | None = None
    policy: Policy = "least-loaded"
    poll_interval_s: Positive = 5.0


class Defaults(Part):
    """What a substation has unless it says otherwise."""

    max_sessions: Sessions = 10
    capacity_kw: Positive | None = None
    session_s: Positive = 30.0
    power_kw: Positive = 7.4


class Substation(Part):
    """One substation; with `url` an external one, read from the gauge `load_metric`."""

    name: Name
    port: Port | None = None
    max_sessions: Sessions | None = None
    capacity_kw: Positive | None = None
    session_s: Positive | None = None
    power_kw: Positive | None = None
    url: str | None = None
    load_metric: str | None = None


def numbered(count: int) -> list[dict[str, Any]]:
    """`count` substations named substation1, substation2, …"""
    return [{"name": f"substation{index}"} for index in range(1, count + 1)]


def _spell_out(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10_000:
        return numbered(value)
    return value


class Topology(Part):
    """A whole cluster; `time_scale` is grid seconds per wall second."""

    name: Name | None = None
    time_scale: Positive = 1.0
    request_service: RequestService = RequestService()
    balancer: Balancer = Balancer()
    defaults: Defaults = Defaults()
    substations: Annotated[tuple[Substation, ...], BeforeValidator(_spell_out)] = Field(
        default_factory=lambda: tuple(Substation(**entry) for entry in numbered(3))
    )

    def with_substations(self, count: int) -> Topology:
        """The same topology with `count` own substations: new ones take the lowest free names, the last ones go first.

        External substations are kept as they are.
        """
        own = [entry for entry in self.substations if entry.url is None]
        external = [entry for entry in self.substations if entry.url is not None]
        taken = {entry.name for entry in self.substations}
        index = 1
        kept = own[:count]
        while len(kept) < count:
            name = f"substation{index}"
            index += 1
            if name not in taken:
                kept.append(Substation(name=name))
        return self.model_copy(update={"substations": (*kept, *external)})
