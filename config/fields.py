"""The kinds of values that a topology's keys hold, and what its parts share; must not know any key.

Charging times are grid seconds, everything of HTTP is wall seconds.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from config import policies
from config.names import NAME_PATTERN

#: What `http://HOST:PORT` (also https, IPv6 in brackets, a path after it) must look like; no query, no credentials.
URL_PATTERN = r"^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}(/[!-\"$->@-~]*)?$"
#: A Prometheus metric name, https://prometheus.io/docs/concepts/data_model/
METRIC_PATTERN = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
Sessions = Annotated[int, Field(ge=1, le=10**9, strict=True)]
WallSeconds = Annotated[float, Field(ge=0.01, le=3600, allow_inf_nan=False, strict=True)]
#: Alarms go by the last minute: that must hold some scrapes.
ScrapeSeconds = Annotated[float, Field(ge=0.1, le=15, allow_inf_nan=False, strict=True)]
GridSeconds = Annotated[float, Field(ge=0.001, le=10**9, allow_inf_nan=False, strict=True)]
#: Power is held as whole watts, so nothing is smaller than one.
Kilowatts = Annotated[float, Field(ge=0.001, le=10**6, allow_inf_nan=False, strict=True)]
TimeScale = Annotated[float, Field(ge=0.001, le=100_000, allow_inf_nan=False, strict=True)]
#: The policies that `balancer.policy` may name.


def _known_policy(name: str) -> str:
    if not policies.is_known(name):
        raise PydanticCustomError("policy", "one of {names}", {"names": ", ".join(policies.known())})
    return name


def _policy_schema(schema: dict[str, Any]) -> None:
    """Names those of installed plug-ins too, at the time when the schema is made."""
    schema["enum"] = list(policies.known())


Policy = Annotated[str, AfterValidator(_known_policy), Field(strict=True, json_schema_extra=_policy_schema)]


class Part(BaseModel):
    """What all parts of a topology share: frozen, and no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def or_empty(value: Any) -> Any:
    """An empty part (`balancer:` and nothing after it) as one that says nothing."""
    return {} if value is None else value


def nullable_schema(schema: dict[str, Any]) -> None:
    """Tells editors that a part may be empty."""
    schema["anyOf"] = [{"$ref": schema.pop("$ref")}, {"type": "null"}]
