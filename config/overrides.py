"""Flags and environment over the file: CLI > environment > file > default. Must not know where the file was found.

| knob          | flag            | variable                | key               |
|---------------|-----------------|-------------------------|-------------------|
| substations   | `--substations` | `GRIDCTL_SUBSTATIONS`   | `substations`     |
| policy        | `--policy`      | `GRIDCTL_POLICY`        | `balancer.policy` |
| time_scale    | `--time-scale`  | `GRIDCTL_TIME_SCALE`    | `time_scale`      |

This is the one place where they meet; what comes out is frozen and travels as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from config.errors import Fault, Invalid
from config.faults import shown
from config.rules import Path
from config.schema import allowed
from config.topology import MAX_SUBSTATIONS, Policy, TimeScale, Topology


@dataclass(frozen=True, slots=True)
class Knob:
    """One value that flag and variable can override: what checks it, how a variable's text is read, its key."""

    flag: str
    variable: str
    path: Path
    read: Callable[[str], Any]
    check: Callable[[Any], Any]
    allowed: str


def _count(value: int) -> int:
    if isinstance(value, bool) or not 0 <= value <= MAX_SUBSTATIONS:
        raise ValueError(value)
    return value


SUBSTATIONS = Knob(
    "--substations", "GRIDCTL_SUBSTATIONS", ("substations",), int, _count, f"a whole number from 0 to {MAX_SUBSTATIONS}"
)
POLICY = Knob(
    "--policy",
    "GRIDCTL_POLICY",
    ("balancer", "policy"),
    str,
    TypeAdapter[Any](Policy).validate_python,
    allowed(("balancer", "policy")),
)
TIME_SCALE = Knob(
    "--time-scale",
    "GRIDCTL_TIME_SCALE",
    ("time_scale",),
    float,
    TypeAdapter[Any](TimeScale).validate_python,
    allowed(("time_scale",)),
)


def apply_overrides(
    topology: Topology,
    *,
    substations: int | None = None,
    policy: str | None = None,
    time_scale: float | None = None,
    environ: Mapping[str, str],
) -> Topology:
    """`topology` with what the flags say, else the environment, else what it says itself.

    A flag that is None was not given; a variable that is empty counts as unset, and one whose flag is given is not even
    read. `substations` counts the cluster's own ones (external ones stay). Invalid names every flag and variable that
    is wrong.
    """
    faults: list[Fault] = []
    count = _chosen(SUBSTATIONS, substations, environ, faults)
    chosen_policy = _chosen(POLICY, policy, environ, faults)
    scale = _chosen(TIME_SCALE, time_scale, environ, faults)
    if faults:
        places = ", ".join(fault.where for fault in faults)
        raise Invalid(f"{places} cannot be used", "Nothing was started.", faults)
    if count is not None:
        topology = topology.with_substations(count)
    if chosen_policy is not None:
        balancer = topology.balancer.model_copy(update={"policy": chosen_policy})
        topology = topology.model_copy(update={"balancer": balancer})
    return topology if scale is None else topology.model_copy(update={"time_scale": scale})


def _chosen(knob: Knob, given: object, environ: Mapping[str, str], faults: list[Fault]) -> Any:
    text = environ.get(knob.variable, "").strip()
    if given is None and not text:
        return None
    where = f"${knob.variable}" if given is None else knob.flag
    try:
        return knob.check(knob.read(text) if given is None else given)
    except (ValueError, ValidationError):
        key = ".".join(str(part) for part in knob.path)
        faults.append(Fault(where, 0, key, shown(text if given is None else given), knob.allowed))
        return None
