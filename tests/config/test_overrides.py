"""CLI > environment > file > default."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import Fault
from config.overrides import apply_overrides
from config.policies import SHIPPED
from config.topology import Balancer, Monitoring, Substation, Topology
from tests.config.faults import faults_of

FILE = Topology(
    balancer=Balancer(policy="random"), time_scale=2, substations=(Substation(name="a"), Substation(name="b"))
)
VARIABLES = {"GRIDCTL_SUBSTATIONS": "5", "GRIDCTL_POLICY": "round-robin", "GRIDCTL_TIME_SCALE": "10"}


def _knobs(topology: Topology) -> tuple[int, str, float]:
    return len(topology.substations), topology.balancer.policy, topology.time_scale


def test_precedence() -> None:
    flags: dict[str, Any] = {"substations": 1, "policy": "least-loaded", "time_scale": 60.0}
    assert _knobs(apply_overrides(Topology(), environ={})) == (3, "ledger", 1)
    assert _knobs(apply_overrides(FILE, environ={})) == (2, "random", 2)
    assert _knobs(apply_overrides(FILE, environ=VARIABLES)) == (5, "round-robin", 10)
    assert _knobs(apply_overrides(FILE, environ=VARIABLES, **flags)) == (1, "least-loaded", 60)


def test_switches_are_switched_by_flag_else_by_variable_else_by_the_file() -> None:
    def switches(topology: Topology) -> tuple[bool, bool]:
        return topology.monitoring.prometheus, topology.monitoring.grafana

    file = Topology(monitoring=Monitoring(prometheus=True, prometheus_port=9999))
    assert switches(apply_overrides(file, environ={})) == (True, False)
    both = {"GRIDCTL_PROMETHEUS": "0", "GRIDCTL_GRAFANA": "True"}
    assert switches(apply_overrides(file, environ=both)) == (False, True)
    switched = apply_overrides(file, environ=both, prometheus=True, grafana=False)
    assert switches(switched) == (True, False)
    assert switched.monitoring.prometheus_port == 9999
    assert faults_of(lambda: apply_overrides(file, environ={"GRIDCTL_PROMETHEUS": "maybe"})) == (
        Fault("$GRIDCTL_PROMETHEUS", 0, "monitoring.prometheus", "the text 'maybe'", "1, true, 0 or false"),
    )


def test_a_variable_that_is_empty_counts_as_unset() -> None:
    assert apply_overrides(FILE, environ=dict.fromkeys(VARIABLES, " ")) == FILE


def test_a_variable_whose_flag_is_given_is_not_read() -> None:
    assert _knobs(apply_overrides(FILE, environ={"GRIDCTL_SUBSTATIONS": "x"}, substations=0))[0] == 0


def test_every_fault_is_named() -> None:
    environ = {"GRIDCTL_SUBSTATIONS": "three", "GRIDCTL_TIME_SCALE": "0"}
    assert faults_of(lambda: apply_overrides(FILE, environ=environ, policy="best")) == (
        Fault("$GRIDCTL_SUBSTATIONS", 0, "substations", "the text 'three'", "a whole number from 0 to 10000"),
        Fault("--policy", 0, "balancer.policy", "the text 'best'", f"one of {', '.join(SHIPPED)}"),
        Fault("$GRIDCTL_TIME_SCALE", 0, "time_scale", "the text '0'", "a number from 0.001 to 100,000"),
    )


@pytest.mark.parametrize("count", [-1, 10_001])
def test_counts_out_of_range(count: int) -> None:
    assert faults_of(lambda: apply_overrides(FILE, environ={}, substations=count))[0].found == str(count)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_time_scales_out_of_range(scale: float) -> None:
    assert faults_of(lambda: apply_overrides(FILE, environ={}, time_scale=scale))[0].where == "--time-scale"
    assert faults_of(lambda: apply_overrides(FILE, environ={"GRIDCTL_TIME_SCALE": str(scale)}))


@given(st.integers(0, 40), st.floats(0.001, 100_000), st.sampled_from(SHIPPED))
def test_flag_and_variable_say_the_same(count: int, scale: float, policy: str) -> None:
    environ = {"GRIDCTL_SUBSTATIONS": str(count), "GRIDCTL_POLICY": policy, "GRIDCTL_TIME_SCALE": repr(scale)}
    by_flag = apply_overrides(FILE, environ={}, substations=count, policy=policy, time_scale=scale)
    assert apply_overrides(FILE, environ=environ) == by_flag
    assert _knobs(by_flag) == (count, policy, scale)
