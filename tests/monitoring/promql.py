"""What a query selects, by PromQL's own grammar, and whether that can be anybody else's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from promql_parser import Expr, Matcher, MatchOp, VectorSelector, parse, walk

from monitoring import rules
from monitoring.grafana.provisioning import DASHBOARDS, dashboard
from monitoring.metrics import BalancerMetrics, ChargeRequestMetrics, FaultMetrics, ServiceMetrics, SubstationMetrics

#: What is asked of Prometheus' series by those who are no service of ours too.
ANYBODYS = re.compile(r"process_.*|service_ready")
#: What Grafana puts in, as far as the grammar wants it.
FILLED = {"$__rate_interval": "20s", "$__range": "15m"}
_KINDS = ("", "_total", "_bucket", "_sum", "_count")


def selected(expr: str) -> list[VectorSelector]:
    """Every selector in `expr`, in which Grafana's variables may stand; ValueError where it is no PromQL."""
    for variable, text in FILLED.items():
        expr = expr.replace(variable, text)
    found: list[VectorSelector] = []

    def visit(part: Expr) -> None:
        if isinstance(part, VectorSelector):
            found.append(part)

    walk(parse(expr), visit)
    return found


def own_metrics() -> set[str]:
    """The names of series that only services of ours have."""
    registry = CollectorRegistry()
    for make in (SubstationMetrics, BalancerMetrics, ChargeRequestMetrics):
        make(registry)
    ServiceMetrics(registry, "1", 1.0, lambda: True)
    FaultMetrics(registry, lambda _: 0.0)
    families = {family.name for family in registry.collect() if not ANYBODYS.fullmatch(family.name)}
    return {name + kind for name in families for kind in _KINDS} | {rule.record for rule in rules.RECORDINGS}


def is_ours(selector: VectorSelector) -> bool:
    """Whether it selects nothing of somebody else's, by the metric's name, the job or the alarm's name."""
    return (
        selector.name in own_metrics()
        or _only(selector, "job", {"charge-request", "balancer", "substation"})
        or (selector.name == "ALERTS" and _only(selector, "alertname", {alert.name for alert in rules.alerts()}))
    )


def _only(selector: VectorSelector, label: str, values: set[str]) -> bool:
    return any(matcher.name == label and _values(matcher) <= values for matcher in selector.matchers.matchers)


def _values(matcher: Matcher) -> set[str]:
    if matcher.op == MatchOp.Equal:
        return {matcher.value}
    return set(matcher.value.split("|")) if matcher.op == MatchOp.Re else {"anything"}


def queries() -> Iterator[tuple[str, str]]:
    """Whose each query is, and the query: of rules, of panels, of annotations, and what variables are chosen from."""
    for recording in rules.RECORDINGS:
        yield recording.record, recording.expr
    for alert in rules.alerts():
        yield alert.name, alert.expr
    for name in DASHBOARDS:
        yield from ((f"{name}: {title}", expr) for title, expr in _of_dashboard(name))


def _of_dashboard(name: str) -> Iterator[tuple[str, str]]:
    board = json.loads(dashboard(name))
    for panel in board["panels"]:
        yield from ((f"{panel['title']} {target['refId']}", target["expr"]) for target in panel.get("targets", ()))
    yield from ((event["name"], event["expr"]) for event in board["annotations"]["list"])
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.+), \w+\)", variable["query"]["query"])
            assert found, variable
            yield variable["name"], found[1]
