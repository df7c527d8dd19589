"""What a Prometheus that watches others too has of them is in no panel, no mark and no alarm of ours."""

from __future__ import annotations

import pytest

from monitoring import rules
from tests.e2e.monitoring.watched import CLUSTER, THEIRS, Watched, ask
from tests.monitoring.promql import queries, selected

pytestmark = [pytest.mark.e2e, pytest.mark.needs("prometheus")]

#: None: what is recorded, and alarms, are of a cluster and of no job.
JOBS = {"charge-request", "balancer", "substation", None}


@pytest.mark.parametrize("expr", [pytest.param(expr, id=name) for name, expr in queries()])
def test_a_query_selects_series_of_ours_only(expr: str, seen: Watched) -> None:
    """Each of its selectors, as Grafana fills it in."""
    for selector in selected(expr.replace("$cluster", CLUSTER).replace("$substation", ".*")):
        found = ask(seen.url, "series", **{"match[]": str(selector), "start": seen.began_s, "end": seen.ended_s})
        assert found, f"there is no {selector}"
        assert {labels.get("job") for labels in found} <= JOBS


def test_others_have_the_same_metrics_in_a_cluster_that_is_called_the_same(seen: Watched) -> None:
    selector = f'{{job="{THEIRS}", cluster="{CLUSTER}"}}'
    names = seen.label_values("__name__", selector)
    assert {"up", "scrape_duration_seconds", "process_start_time_seconds", "process_open_fds", "ALERTS"} <= {*names}
    assert seen.label_values("cluster", "up") == [THEIRS, CLUSTER]
    assert "Theirs" not in {alert.name for alert in rules.alerts()}
