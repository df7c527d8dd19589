"""What Prometheus works out beforehand, and what it raises an alarm for. Pure; must not know where Prometheus runs.

Recorded names are `level:metric:operations` (prometheus.io/docs/practices/rules). Where several balancers tell of the same
substation, the worst word counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: Missed polls after which a report is old, and the least age (wall seconds) that is called so.
OLD_AFTER_POLLS = 3
OLD_S = 15.0

#: Targets of ours, in a Prometheus that watches others too: for metrics that others have as well (`process_*`, `up`).
JOBS = 'job=~"charge-request|balancer|substation"'
#: Theirs that are of a grid.
OURS = f'cluster!="", {JOBS}'
_SERVICE_UP = 'up{cluster!="", job=~"balancer|charge-request"}'
_SUBSTATION_UP = 'up{cluster!="", job="substation", substation_id!=""}'


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded series: its name and the expression."""

    record: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alert:
    """One alarm: raised once `expr` has held for `for_s` wall seconds. The texts are Prometheus' templates."""

    name: str
    expr: str
    for_s: int
    severity: str
    summary: str
    description: str


RECORDINGS = (
    Recording("cluster:charge_requests:rate1m", "sum by (cluster) (rate(charge_requests_total[1m]))"),
    Recording(
        "cluster:charge_request_failures:ratio_rate1m",
        "sum by (cluster) (rate(charge_request_failures_total[1m])) / (cluster:charge_requests:rate1m > 0)",
    ),
    Recording(
        "cluster:charge_request_duration_seconds:p99_rate1m",
        "histogram_quantile(0.99, sum by (cluster, le) (rate(charge_request_duration_seconds_bucket[1m])))",
    ),
    Recording(
        "cluster:balancer_requests:refused_rate1m",
        'sum by (cluster) (rate(balancer_requests_total{outcome="refused"}[1m]))',
    ),
    Recording("cluster:balancer_queue_length:sum", "sum by (cluster) (balancer_queue_length)"),
    Recording(
        "substation:substation_load_percentage:max", "max by (cluster, substation_id) (substation_load_percentage)"
    ),
    Recording(
        "substation:balancer_report_age_seconds:max",
        "max by (cluster, substation_id) (balancer_report_age_seconds)",
    ),
    Recording(
        "cluster:substation_load_percentage:spread",
        "max by (cluster) (substation:substation_load_percentage:max)"
        " - min by (cluster) (substation:substation_load_percentage:max)",
    ),
    Recording("cluster:substation_current_load:sum", "sum by (cluster) (substation_current_load)"),
    Recording(
        "instance:process_restarts:changes10m",
        f"changes(process_start_time_seconds{{{OURS}}}[10m])",
    ),
)

_WHICH = "{{ with $labels.substation_id }} {{ . }}{{ end }}{{ with $labels.worker }} ({{ . }}){{ end }}"
_WHO = f"{{{{ $labels.job }}}}{_WHICH} at {{{{ $labels.instance }}}}"
_WHERE = "cluster {{ $labels.cluster }}"


_SUBSTATIONS = (
    Alert(
        "SubstationNearlyFull",
        "substation:substation_load_percentage:max > 90",
        30,
        "warning",
        "{{ $labels.substation_id }} has been over 90 % for half a minute",
        f'It is at {{{{ $value | printf "%.0f" }}}} % of its limit in {_WHERE}. Where all are, more capacity is needed:'
        " another substation; where only some are, look at how they are chosen (the balancer's policy).",
    ),
    Alert(
        "SubstationDown",
        f"{_SUBSTATION_UP} == 0",
        15,
        "critical",
        "{{ $labels.substation_id }} does not answer",
        f"{_WHO} in {_WHERE} has not been scraped for 15 s. What charges there goes on, and is resumed when it comes"
        " back; nothing new is placed there. See whether it runs, and its log.",
    ),
)
_REQUESTS = (
    Alert(
        "RejectionsWhileCapacityFree",
        "sum by (cluster) (increase(balancer_avoidable_rejections_total[1m])) > 0",
        0,
        "critical",
        "EVs are sent away though there is room",
        f"In {_WHERE} requests were refused while a substation that was not asked was believed to have room: does the"
        " policy try one only? Where gridctl up runs it, gridctl explain REQUEST_ID says why.",
    ),
    Alert(
        "QueueGrowing",
        "cluster:balancer_queue_length:sum > 10 and deriv(cluster:balancer_queue_length:sum[1m]) > 0.05",
        30,
        "warning",
        'The queue grows: {{ $value | printf "%.0f" }} requests wait',
        f"In {_WHERE} more EVs come than leave. Those at the end will wait until they give up.",
    ),
    Alert(
        "ErrorRateHigh",
        "cluster:charge_request_failures:ratio_rate1m > 0.01",
        30,
        "critical",
        "{{ $value | humanizePercentage }} of charge requests fail",
        f"Of {_WHERE}: answers of 500 and above that are no refusal for want of room."
        " charge_request_failures_total tells the reasons.",
    ),
    Alert(
        "LatencyHigh",
        "cluster:charge_request_duration_seconds:p99_rate1m > 0.25",
        60,
        "warning",
        "One in a hundred charge requests takes longer than {{ $value | humanizeDuration }}",
        f"In {_WHERE}. balancer_request_duration_seconds and substation_request_duration_seconds say on which hop.",
    ),
    Alert(
        "GridOverloaded",
        "min by (cluster) (grid_health) == 0",
        0,
        "critical",
        "A substation is above its limit",
        f"In {_WHERE}. Substations of ours never take too much unless hard_limit is off; an external one may.",
    ),
)
_SERVICES = (
    Alert(
        "ServiceDown",
        f"{_SERVICE_UP} == 0",
        15,
        "critical",
        "{{ $labels.job }} does not answer",
        f"{_WHO} in {_WHERE} has not been scraped for 15 s. See whether it runs, and its log.",
    ),
    Alert(
        "ServiceNotReady",
        f"service_ready{{{OURS}}} == 0",
        30,
        "warning",
        "{{ $labels.job }} runs and cannot do its work",
        f"{_WHO} in {_WHERE} says so of itself; its /health says why.",
    ),
    Alert(
        "ServiceRestarting",
        "instance:process_restarts:changes10m > 1",
        0,
        "warning",
        "{{ $labels.job }} was restarted {{ $value }} times in ten minutes",
        f"{_WHO} in {_WHERE}. Its log holds the reason.",
    ),
)


def alerts(poll_interval_s: float = 5.0) -> tuple[Alert, ...]:
    """Every alarm, for balancers that poll each `poll_interval_s` (wall seconds)."""
    old = _old_report(max(OLD_S, OLD_AFTER_POLLS * poll_interval_s))
    return (*_SUBSTATIONS, old, *_REQUESTS, *_SERVICES)


def _old_report(old_s: float) -> Alert:
    return Alert(
        "SubstationReportOld",
        f"substation:balancer_report_age_seconds:max > {old_s:g}",
        10,
        "warning",
        "Nothing has been heard of {{ $labels.substation_id }} for {{ $value | humanizeDuration }}",
        f"A balancer of {_WHERE} reckons with old figures: three polls brought no answer. Is it frozen, cut off, or very"
        " busy?",
    )


def groups(poll_interval_s: float = 5.0) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each rule file's name and its document: `recording`, then `alerts`, which use what the former records."""
    recorded = [{"record": rule.record, "expr": rule.expr} for rule in RECORDINGS]
    yield "recording", {"groups": [{"name": "gridctl-recording", "rules": recorded}]}
    raised = [_alert(rule) for rule in alerts(poll_interval_s)]
    yield "alerts", {"groups": [{"name": "gridctl-alerts", "rules": raised}]}


def _alert(rule: Alert) -> dict[str, Any]:
    return {
        "alert": rule.name,
        "expr": rule.expr,
        **({"for": f"{rule.for_s}s"} if rule.for_s else {}),
        "labels": {"severity": rule.severity},
        "annotations": {"summary": rule.summary, "description": rule.description},
    }
