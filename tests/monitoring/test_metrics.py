"""The metric names are DESIGN's, and a registry is one service's own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition, parser

from monitoring.metrics import BalancerMetrics, ChargeRequestMetrics, FaultMetrics, ServiceMetrics, SubstationMetrics


def _families(registry: CollectorRegistry) -> set[str]:
    lines = generate_latest(registry).decode().splitlines()
    return {line.split()[2] for line in lines if line.startswith("# TYPE")}


def test_a_substations_names() -> None:
    registry = CollectorRegistry()
    metrics = SubstationMetrics(registry)
    metrics.observe(lambda: 3, lambda: 22.2, lambda: 10, lambda: 74.0)
    assert _families(registry) == {
        "substation_current_load",
        "substation_capacity_sessions",
        "substation_load_kw",
        "substation_capacity_kw",
        "substation_requests_total",
        "substation_request_duration_seconds",
        "substation_charging_time_seconds",
        "substation_energy_delivered_kwh_total",
    }
    assert registry.get_sample_value("substation_current_load") == 3
    assert registry.get_sample_value("substation_load_kw") == 22.2


def test_what_every_service_tells_of_itself() -> None:
    registry = CollectorRegistry()
    ready = [False]
    ServiceMetrics(registry, "1.2.3", 60.0, lambda: ready[0])
    told = {"drop_pct": 2.0, "delay_s": 0.25, "duplicate_pct": 50.0}
    FaultMetrics(registry, told.__getitem__)
    assert registry.get_sample_value("gridctl_build_info", {"version": "1.2.3"}) == 1
    assert registry.get_sample_value("grid_time_scale") == 60
    assert registry.get_sample_value("service_ready") == 0
    ready[0] = True
    assert registry.get_sample_value("service_ready") == 1
    assert registry.get_sample_value("chaos_reply_drop_ratio") == 0.02
    assert registry.get_sample_value("chaos_reply_delay_seconds") == 0.25
    assert registry.get_sample_value("chaos_reply_duplicate_ratio") == 0.5


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("make", [SubstationMetrics, BalancerMetrics, ChargeRequestMetrics])
def test_prometheus_own_linter_has_nothing_to_say(make: Callable[[CollectorRegistry], object]) -> None:
    registry = CollectorRegistry()
    make(registry)
    ServiceMetrics(registry, "1", 1.0, lambda: True)
    FaultMetrics(registry, lambda _: 0.0)
    linter = subprocess.run(
        ["promtool", "check", "metrics"], input=generate_latest(registry), capture_output=True, check=False
    )
    assert (linter.returncode, linter.stdout, linter.stderr) == (0, b"", b"")
    page = exposition.generate_latest(registry).decode()  # type: ignore[no-untyped-call]
    assert list(parser.text_string_to_metric_families(page))  # type: ignore[no-untyped-call]


def test_a_balancers_names() -> None:
    registry = CollectorRegistry()
    BalancerMetrics(registry)
    assert _families(registry) == {
        "substation_load_percentage",
        "balancer_report_age_seconds",
        "balancer_requests_total",
        "balancer_attempts_total",
        "balancer_request_duration_seconds",
        "balancer_decision_seconds",
        "balancer_peers",
        "balancer_queue_length",
        "balancer_queue_wait_seconds",
        "balancer_queue_drops_total",
        "balancer_avoidable_rejections_total",
        "grid_loading_percentage",
        "grid_health",
    }


def test_a_substation_that_left_has_no_series() -> None:
    registry = CollectorRegistry()
    metrics = BalancerMetrics(registry)
    metrics.load_percentage.labels("substation1").set(50)
    metrics.report_age_s.labels("substation1").set(1)
    metrics.forget("substation1")
    metrics.forget("never-seen")
    assert b"substation1" not in generate_latest(registry)


def test_the_charge_request_services_names() -> None:
    registry = CollectorRegistry()
    metrics = ChargeRequestMetrics(registry)
    metrics.requests.labels("202").inc()
    assert _families(registry) == {
        "charge_requests_total",
        "charge_request_failures_total",
        "charge_request_duration_seconds",
    }
    assert registry.get_sample_value("charge_requests_total", {"status": "202"}) == 1
    assert b"_created" not in generate_latest(registry)
