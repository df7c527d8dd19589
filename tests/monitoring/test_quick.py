"""What costs less counts as much, and few exemplars are enough where there are many."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.openmetrics.exposition import generate_latest

from monitoring.quick import EXEMPLARS_A_SECOND, Counted, Durations, Spread, Total


def _page(registry: CollectorRegistry) -> str:
    found: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
    return found.decode()


def test_each_value_is_there_from_the_start_and_others_may_come() -> None:
    registry = CollectorRegistry()
    counted = Counted("asked", "Asked.", "outcome", ("yes", "no"), registry)
    counted.labels("yes").inc()
    counted.labels("perhaps").inc(2)
    values = [registry.get_sample_value("asked_total", {"outcome": value}) for value in ("yes", "no", "perhaps")]
    assert values == [1, 0, 2]
    assert sum(sample.value for metric in registry.collect() for sample in metric.samples) == 3


def test_of_each_bucket_the_first_of_a_second_show_their_requests() -> None:
    registry, now_s, asked = CollectorRegistry(), [0.0], [0]
    durations = Durations("took", "Took.", (0.1, 1.0), registry, lambda: now_s[0])

    def about() -> dict[str, str]:
        asked[0] += 1
        return {"request_id": f"r{asked[0]}"}

    for _ in range(1000):
        durations.observe(0.05, about)
    durations.observe(0.1, about)
    assert asked == [EXEMPLARS_A_SECOND]
    durations.observe(0.5, about)
    durations.observe(5.0, about)
    assert asked == [EXEMPLARS_A_SECOND + 2]
    now_s[0] = 1.0
    durations.observe(0.05, about)
    page = _page(registry)
    assert f'le="0.1"}} 1002.0 # {{request_id="r{EXEMPLARS_A_SECOND + 3}"}} 0.05' in page
    assert f'le="+Inf"}} 1004.0 # {{request_id="r{EXEMPLARS_A_SECOND + 2}"}} 5.0' in page
    assert "took_count 1004.0" in page


def test_one_who_has_nothing_to_show_is_counted() -> None:
    registry = CollectorRegistry()
    Durations("took", "Took.", (0.1,), registry).observe(0.05, dict)
    assert "#" not in next(line for line in _page(registry).splitlines() if "le=" in line)


@given(values=st.lists(st.one_of(st.floats(0, 20), st.sampled_from([0.0, 0.1, 1.0, 10.0, math.inf]))))
def test_a_page_says_what_prometheus_own_metrics_would_say(values: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    spread, histogram = (
        Spread("took", "Took.", (0.1, 1, 10.0), ours),
        Histogram("took", "Took.", buckets=(0.1, 1, 10.0), registry=theirs),
    )
    total, counter = Total("all", "All.", ours), Counter("all", "All.", registry=theirs)
    counted, labelled = (
        Counted("asked", "Asked.", "outcome", ("yes",), ours),
        Counter("asked", "Asked.", ["outcome"], registry=theirs),
    )
    labelled.labels("yes")
    for value in values:
        spread.observe(value)
        histogram.observe(value)
        total.inc(value)
        counter.inc(value)
        counted.labels(str(value > 1)).inc()
        labelled.labels(str(value > 1)).inc()
    assert _page(ours) == "".join(line for line in _page(theirs).splitlines(True) if "_created" not in line)


def test_two_of_one_name_are_a_mistake() -> None:
    registry = CollectorRegistry()
    Total("all", "All.", registry)
    with pytest.raises(ValueError, match="all"):
        Spread("all", "All.", (1.0,), registry)
