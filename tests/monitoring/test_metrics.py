"""The metric names are DESIGN's, and a registry is one service's own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from monitoring.metrics import BalancerMetrics, ChargeRequestMetrics, SubstationMetrics


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
        "substation_charging_time_seconds",
        "substation_energy_delivered_kwh_total",
    }
    assert registry.get_sample_value("substation_current_load") == 3
    assert registry.get_sample_value("substation_load_kw") == 22.2


def test_a_balancers_names() -> None:
    registry = CollectorRegistry()
    BalancerMetrics(registry)
    assert _families(registry) == {
        "substation_load_percentage",
        "balancer_report_age_seconds",
        "balancer_requests_total",
        "balancer_attempts_total",
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
    assert _families(registry) == {"charge_requests_total", "charge_request_duration_seconds"}
    assert registry.get_sample_value("charge_requests_total", {"status": "202"}) == 1
    assert b"_created" not in generate_latest(registry)
