"""Flags and environment over the file: CLI > environment > file > default. Must not know where the file was found.

| knob          | flag            | variable                | key               |
|---------------|-----------------|-------------------------|-------------------|
| substations   | `--substations` | `GRIDCTL_SUBSTATIONS`   | `substations`     |
| policy        | `--policy`      | `GRIDCTL_POLICY`        | `balancer.policy` |
| time_scale    | `--time-scale`  | `GRIDCTL_TIME_SCALE`    | `time_scale`      |
| prometheus    | `--prometheus`  | `GRIDCTL_PROMETHEUS`    | `monitoring.prometheus` |
| grafana       | `--grafana`     | `GRIDCTL_GRAFANA`       | `monitoring.grafana`    |

This is the one place where they meet; what comes out is frozen and travels as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from config.errors import Fault, Invalid
from config.faults import shown
from config.fields import Policy, TimeScale
from config.rules import Path
from config.schema import allowed
from config.topology import MAX_SUBSTATIONS, Topology


@dataclass(frozen=True, slots=True)
class Knob:
    """One value that flag and variable can override: how a variable's text is read, what checks it, and its key.

    `allowed` says what may stand there. What takes time to be made is made when it is first asked for.
    """

    flag: str
    variable: str
    path: Path
    read: Callable[[str], Any]
    check: Callable[[Any], Any]
    allowed: Callable[[], str]


def _typed(kind: Any) -> Callable[[Any], Any]:
    """What checks values of this pydantic type; ValidationError where one is not."""
    return lambda value: TypeAdapter[Any](kind).validate_python(value)


def _count(value: int) -> int:
    if isinstance(value, bool) or not 0 <= value <= MAX_SUBSTATIONS:
        raise ValueError(value)
    return value


SUBSTATIONS = Knob(
    "--substations",
    "GRIDCTL_SUBSTATIONS",
    ("substations",),
    int,
    _count,
    lambda: f"a whole number from 0 to {MAX_SUBSTATIONS}",
)
POLICY = Knob(
    "--policy",
    "GRIDCTL_POLICY",
    ("balancer", "policy"),
    str,
    _typed(Policy),
    lambda: allowed(("balancer", "policy")),
)
TIME_SCALE = Knob(
    "--time-scale",
    "GRIDCTL_TIME_SCALE",
    ("time_scale",),
    float,
    _typed(TimeScale),
    lambda: allowed(("time_scale",)),
)


def _switch(name: str) -> Knob:
    return Knob(
        f"--{name}",
        f"GRIDCTL_{name.upper()}",
        ("monitoring", name),
        _on_or_off,
        _typed(bool),
        lambda: "1, true, 0 or false",
    )


def _on_or_off(text: str) -> bool:
    words = {"1": True, "true": True, "0": False, "false": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


SWITCHES = {name: _switch(name) for name in ("prometheus", "grafana")}


def apply_overrides(
    topology: Topology,
    *,
    substations: int | None = None,
    policy: str | None = None,
    time_scale: float | None = None,
    prometheus: bool | None = None,
    grafana: bool | None = None,
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
    switched = {
        name: _chosen(SWITCHES[name], given, environ, faults)
        for name, given in (("prometheus", prometheus), ("grafana", grafana))
    }
    if faults:
        places = ", ".join(fault.where for fault in faults)
        raise Invalid(f"{places} cannot be used", "Nothing was changed.", faults)
    if count is not None:
        topology = topology.with_substations(count)
    if chosen_policy is not None:
        balancer = topology.balancer.model_copy(update={"policy": chosen_policy})
        topology = topology.model_copy(update={"balancer": balancer})
    if scale is not None:
        topology = topology.model_copy(update={"time_scale": scale})
    given = {name: on for name, on in switched.items() if on is not None}
    return topology.model_copy(update={"monitoring": topology.monitoring.model_copy(update=given)})


def _chosen(knob: Knob, given: object, environ: Mapping[str, str], faults: list[Fault]) -> Any:
    text = environ.get(knob.variable, "").strip()
    if given is None and not text:
        return None
    where = f"${knob.variable}" if given is None else knob.flag
    try:
        return knob.check(knob.read(text) if given is None else given)
    except (ValueError, ValidationError):
        key = ".".join(str(part) for part in knob.path)
        faults.append(Fault(where, 0, key, shown(text if given is None else given), knob.allowed()))
        return None
