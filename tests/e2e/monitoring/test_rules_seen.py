"""Every rule's expression, asked of what a real Prometheus saw of a grid under load: each has something to go by."""

from __future__ import annotations

import math
import re

import pytest

from monitoring import rules
from tests.e2e.monitoring.watched import Watched, ask

pytestmark = [pytest.mark.e2e, pytest.mark.needs("prometheus")]

#: Where an alarm's measure ends and its bound begins.
BOUND = re.compile(r" (==|>=?|<=?) [0-9.]+$")


@pytest.mark.parametrize("rule", rules.RECORDINGS, ids=lambda rule: rule.record)
def test_what_is_recorded_was_recorded_and_can_be_asked_for(rule: rules.Recording, seen: Watched) -> None:
    for expr in (rule.expr, rule.record):
        values = [value for series in seen.over_time(expr) for _, value in series.samples]
        assert any(math.isfinite(value) for value in values), f"nothing at all: {expr}"


@pytest.mark.parametrize("alert", rules.alerts(), ids=lambda alert: alert.name)
def test_what_an_alarm_goes_by_is_there(alert: rules.Alert, seen: Watched) -> None:
    parts = alert.expr.split(" and ")
    for part in parts:
        measure = BOUND.sub("", part)
        assert measure != part, "an alarm has a bound"
        assert any(series.samples for series in seen.over_time(measure)), f"nothing at all: {measure}"


def test_prometheus_evaluates_every_rule_without_a_fault(seen: Watched) -> None:
    groups = [group for group in ask(seen.url, "rules")["groups"] if group["name"].startswith("gridctl-")]
    found = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert found == {
        **{rule.record: "ok" for rule in rules.RECORDINGS},
        **{rule.name: "ok" for rule in rules.alerts()},
    }


def test_alarms_were_raised_by_what_happened_and_no_others(seen: Watched) -> None:
    """The grid was overrun, one of its substations crashed twice, others were frozen for seconds."""
    raised = {series.labels["alertname"] for series in seen.over_time("ALERTS")}
    assert {"SubstationNearlyFull", "SubstationDown", "ServiceRestarting", "ErrorRateHigh"} <= raised
    assert not raised & {"RejectionsWhileCapacityFree", "GridOverloaded"}


def test_a_slow_answer_leads_to_the_request_that_was_slow(seen: Watched) -> None:
    asked = {"start": seen.began_s, "end": seen.ended_s}
    found = ask(seen.url, "query_exemplars", query="charge_request_duration_seconds_bucket", **asked)
    examples = [each for series in found for each in series["exemplars"]]
    assert examples
    assert all(each["labels"]["request_id"] for each in examples)


@pytest.mark.parametrize(
    "histogram",
    [
        *(f"{who}_request_duration_seconds" for who in ("charge", "balancer", "substation")),
        "balancer_decision_seconds",
        "balancer_queue_wait_seconds",
    ],
)
def test_buckets_fit_what_was_measured(histogram: str, seen: Watched) -> None:
    """Of what was measured hardly anything is beyond the last bucket, not most in the first, nor all in one."""
    found = seen.at_the_end(f"sum by (le) ({histogram}_bucket)")
    bounds = sorted((float(series.labels["le"]), series.samples[-1][1]) for series in found)
    counts = [count - before for (_, count), before in zip(bounds, [0.0, *(each for _, each in bounds)], strict=False)]
    total = bounds[-1][1]
    assert total > 10
    assert counts[-1] <= 0.01 * total, f"beyond the last bucket: {counts}"
    assert counts[0] <= 0.5 * total, f"in the first bucket: {counts}"
    assert max(counts) <= 0.95 * total, f"in one bucket: {counts}"
