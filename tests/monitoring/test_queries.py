"""No query of ours asks for what is not ours: one Prometheus may watch others too, with the same labels."""

from __future__ import annotations

import pytest

from tests.monitoring.promql import is_ours, queries, selected


@pytest.mark.parametrize("expr", [pytest.param(expr, id=name) for name, expr in queries()])
def test_a_query_selects_nothing_of_others(expr: str) -> None:
    found = selected(expr)
    assert found, "it selects nothing at all"
    assert [str(each) for each in found if not is_ours(each)] == []


@pytest.mark.parametrize(
    ("selector", "ours"),
    [
        ('up{cluster="city"}', False),
        ('up{job="node"}', False),
        ('up{job=~"substation|node"}', False),
        ('up{job!="substation"}', False),
        ('{cluster="city"}', False),
        ('service_ready{cluster="city"}', False),
        ('ALERTS{cluster="city"}', False),
        ('up{job="substation"}', True),
        ('process_start_time_seconds{job=~"balancer|substation"}', True),
        ("grid_health", True),
        ("charge_request_duration_seconds_bucket", True),
        ('ALERTS{alertname=~"SubstationDown|ServiceDown"}', True),
    ],
)
def test_what_only_services_of_ours_have(selector: str, ours: bool) -> None:
    (found,) = selected(f"sum(rate({selector}[1m])) > 0")
    assert is_ours(found) == ours
