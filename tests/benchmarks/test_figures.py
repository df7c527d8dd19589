"""What the comparison makes of its samples: wrk's words, spreads, ratios within a round, verdicts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.peers.figures import (
    FLASK,
    OURS,
    SUBSTATION,
    TARGETS,
    Sample,
    Spread,
    Table,
    Target,
    loadtest_figures,
    report,
    verdicts,
    wrk_figures,
)

WRK = """Running 2s test @ http://127.0.0.1:9001/charge
  1 threads and 64 connections
  2442 requests in 2.00s, 1.06MB read
BENCH {"answered": 2442, "duration_s": 2.001, "p50_ms": 44.49, "p99_ms": 287.2, "max_ms": 300.1, "refused": 0, "broken": 0, \
"timeouts": 0, "strange": 0}
"""


def sample(peer: str, per_s: float, *, load: str = "closed:256", number: int = 0, **more: Any) -> Sample:
    given = {"accepted": 10, "p50_ms": 1.0, "p99_ms": 2.0, "max_ms": 3.0, "cpu_us": {"load": 9.0}, "others_cores": 0.0}
    return Sample(peer=peer, load=load, round=number, per_s=per_s, **{**given, **more})


def test_wrk_says_how_many_were_answered_and_how_late() -> None:
    found = wrk_figures(WRK)
    assert (found["accepted"], found["duration_s"], found["p99_ms"], found["faults"]) == (2442, 2.001, 287.2, {})


@pytest.mark.parametrize("fault", ["refused", "strange"])
def test_what_is_no_202_is_not_counted(fault: str) -> None:
    found = wrk_figures(WRK.replace(f'"{fault}": 0', f'"{fault}": 42'))
    assert found["accepted"] == 2400
    assert found["faults"] == {fault: 42}


def test_one_answer_seen_as_refused_and_as_strange_is_one() -> None:
    found = wrk_figures(WRK.replace('"refused": 0', '"refused": 40').replace('"strange": 0', '"strange": 42'))
    assert found["accepted"] == 2400


def test_broken_connections_are_told_though_they_answered_nothing() -> None:
    found = wrk_figures(WRK.replace('"broken": 0', '"broken": 7'))
    assert found["accepted"] == 2442
    assert found["faults"] == {"broken": 7}


@pytest.mark.parametrize("text", ["", "unable to connect to 127.0.0.1:1 Connection refused", WRK + WRK])
def test_words_of_wrk_without_our_line_are_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="wrk said nothing"):
        wrk_figures(text)


def test_the_load_tester_counts_what_was_accepted_and_tells_when_it_fell_behind() -> None:
    said = {"accepted": 990, "refused": 7, "failed": 3, "duration_s": 1.0, "behind_schedule": True}
    found = loadtest_figures(json.dumps({**said, "latency_ms": {"p50": 1.0, "p99": None, "max": 4.0}}))
    assert (found["accepted"], found["p99_ms"]) == (990, float("inf"))
    assert found["faults"] == {"refused": 7, "failed": 3, "behind_schedule": 1}


def test_a_ratio_is_of_the_same_round_and_not_of_the_medians() -> None:
    rates = {OURS: (100, 50, 90), "haproxy": (200, 50, 100)}
    table = Table([sample(peer, rate, number=number) for peer, own in rates.items() for number, rate in enumerate(own)])
    assert table.ratio("closed:256", "per_s", OURS, "haproxy") == Spread(0.9, 0.5, 1.0)
    assert table.spread("haproxy", "closed:256", "per_s") == Spread(100, 50, 200)


def test_a_round_that_one_of_both_missed_gives_no_ratio() -> None:
    table = Table([sample(OURS, 100, number=0), sample("haproxy", 50, number=1)])
    assert table.ratio("closed:256", "per_s", OURS, "haproxy") is None


def test_what_the_load_costs_is_not_the_peers() -> None:
    own = sample(OURS, 1.0, cpu_us={"balancer": 30.0, "substations": 12.0, "load": 100.0})
    assert own.spent_us == 42
    assert Table([own]).cpu_us(OURS, "closed:256") == {"balancer": 30.0, "substations": 12.0, "load": 100.0}


@pytest.mark.parametrize(("at_least", "value", "met"), [(True, 0.9, True), (True, 0.89, False), (False, 0.91, False)])
def test_a_bound_counts_as_held(at_least: bool, value: float, met: bool) -> None:
    target = Target("closed:256", "per_s", 0.9, SUBSTATION, at_least=at_least)
    assert target.met(Spread(value, 0.0, 99.0)) is met


def test_everything_demanded_is_judged_and_what_was_not_measured_is_neither_met_nor_missed() -> None:
    table = Table([sample(OURS, 1000, p99_ms=3.0), sample("haproxy", 1000), sample(FLASK, 20)])
    said = {each["target"]: each["met"] for each in verdicts(table)}
    assert len(said) == len(TARGETS)
    assert said["256 connections: requests/s ≥ 1 times that of haproxy"] is True
    assert said["256 connections: p99 ≤ 1 times that of haproxy"] is False
    assert said["256 connections: requests/s ≥ 35 times that of flask"] is True
    assert said["256 connections: requests/s ≥ 1 times that of nginx"] is None
    assert said["1,000 requests/s offered: p99 ≤ 15 ms"] is None


def test_the_report_names_every_peer_and_marks_what_is_missed() -> None:
    text = report(Table([sample(OURS, 500, p99_ms=9.0), sample("haproxy", 1000)]))
    assert "| haproxy | 1,000 (1,000…1,000) |" in text
    assert "p99 ≤ 1 times that of haproxy | 4.50 (4.50…4.50) | MISSED |" in text
