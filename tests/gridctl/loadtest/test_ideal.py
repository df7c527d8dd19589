"""The best that was possible: by hand, and where placing is perfect it is what was reached."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridctl.audit.records import gather
from gridctl.loadtest import counters, ideal, placement, rejections
from gridctl.loadtest.arrivals import Order
from gridctl.loadtest.asked import Asked, Roll
from gridctl.loadtest.client import Outcome
from gridctl.loadtest.counters import Counted
from gridctl.loadtest.ideal import Run
from gridctl.loadtest.placement import Limits, Session
from gridctl.state import ClusterPaths
from services.routing.reference import erlang_b
from tests.gridctl.audit.folder import START_S, Folder
from tests.gridctl.audit.world import HonestGrid, limit

ONE = Limits(1)


def session(name: str, start_s: float, end_s: float, power_w: int = 7400) -> Session:
    return Session(name, start_s, end_s, power_w, end_s - start_s)


def accepted(name: str, at_s: float, **more: Any) -> Asked:
    return Asked(name, "accepted", at_s, "a", **more)


def refused(name: str, at_s: float, **more: Any) -> Asked:
    return Asked(name, "refused", at_s + 0.01, None, "grid-full", arrived_s=at_s, refused_s=at_s, **more)


def run_of(*asked: Asked, records: dict[str, list[Session]], limits: Limits = ONE, **more: Any) -> Run:
    values: dict[str, Any] = {"start_s": 0, "sent_s": 20, "now_s": 100, "rate_per_s": None, "time_scale": 1, **more}
    return Run(asked, records, dict.fromkeys(records, limits), **values)


# -- one pool, the same arrivals --------------------------------------------------------------------------------------
def test_two_halves_refuse_what_one_pool_takes() -> None:
    # 22 kW could take three of 7.4 or 11 + 11; split, the 15 kW one fits nowhere
    records = {"a": [session("r1", 0, 10, 5000)], "b": [session("r2", 0, 10, 5000)]}
    asked = [
        accepted("r1", 0, power_w=5000),
        accepted("r2", 0, power_w=5000),
        refused("r3", 5, power_w=12_000, length_s=4),
    ]
    found = ideal.measure(run_of(*asked, records=records, limits=Limits(5, 11_000)))
    assert found.blocked_pooled == 0
    assert found.spread_jsq == 0
    without = run_of(*asked, records=records, limits=Limits(1))
    assert ideal.measure(without).blocked_pooled == pytest.approx(1 / 3)


def test_a_refused_ev_that_asked_for_nothing_is_like_those_that_were_taken() -> None:
    records = {"a": [session("r1", 0, 30), session("x", -5, 2)]}
    asked = [accepted("r1", 0), refused("r2", 29.9), refused("r3", 30)]
    # the other client's session takes the one place until 2: the first is blocked, the second taken, the third blocked
    assert ideal.measure(run_of(*asked, records=records, sent_s=40)).blocked_pooled == pytest.approx(2 / 3)
    assert ideal.measure(run_of(*asked, records={"a": records["a"][:1]}, sent_s=40)).blocked_pooled == pytest.approx(
        1 / 3
    )


def test_what_cannot_be_known_is_null_and_says_why() -> None:
    found = ideal.measure(run_of(refused("r1", 1), records={"a": []}))
    assert (found.blocked_pooled, found.spread_jsq, found.erlang_b) == (None, None, None)
    assert found.unknown["blocked_pooled"] == ideal.UNLIKE
    empty = ideal.measure(run_of(Asked("r1", "failed", 1.0), records={"a": []}))
    assert empty.unknown["blocked_pooled"] == ideal.NOTHING_ASKED
    told = refused("r1", 1, power_w=1000, length_s=5)
    assert ideal.measure(run_of(told, records={"a": []})).blocked_pooled == 0
    at_once = ideal.measure(run_of(accepted("r1", 0), records={"a": [session("r1", 0, 5)]}, sent_s=0))
    assert at_once.unknown["spread_jsq"] == ideal.NO_TIME


def test_where_evs_wait_in_a_queue_a_pool_that_refuses_is_no_measure() -> None:
    records = {"a": [session("r1", 0, 10), session("r2", 10, 20)]}
    found = ideal.measure(run_of(accepted("r1", 0), accepted("r2", 4, queued=True), records=records))
    assert (found.blocked_pooled, found.unknown["blocked_pooled"]) == (None, ideal.QUEUED)


def test_an_ev_that_left_early_stayed_no_longer_and_one_that_charges_stays_as_planned() -> None:
    left = Session("r1", 0, 3, 7400, 30)
    running = Session("r1", 0, 100, 7400, 130)
    asked = accepted("r1", 0), refused("r2", 4, length_s=1), refused("r3", 120, length_s=1)
    assert ideal.measure(run_of(*asked, records={"a": [left]})).blocked_pooled == 0
    assert ideal.measure(run_of(*asked, records={"a": [running]})).blocked_pooled == pytest.approx(2 / 3)


def test_the_nominal_load_is_rate_times_planned_length_over_slots() -> None:
    asked = accepted("r1", 0), accepted("r2", 0)
    records = {"a": [session("r1", 0, 3), session("x", 0, 99)], "b": [session("r2", 0, 3)]}
    base = run_of(*asked, records=records, rate_per_s=2.0)
    limits = {"a": Limits(10, 37_000), "b": Limits(10)}  # 37 kW is five of 7.4
    assert ideal.measure(replace(base, limits=limits)).erlang_b == erlang_b(6, 15)
    assert ideal.measure(replace(base, rate_per_s=None)).unknown["erlang_b"] == ideal.NO_RATE
    assert ideal.measure(replace(base, asked=())).unknown["erlang_b"] == ideal.NO_SESSION
    assert ideal.measure(replace(base, rate_per_s=math.inf)).unknown["erlang_b"] == ideal.TOO_LONG


@given(
    arrivals=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), min_size=1, max_size=60),
    slots=st.lists(st.integers(1, 4), min_size=1, max_size=4),
)
def test_perfect_placing_blocks_what_one_pool_blocks_and_nothing_avoidable(
    arrivals: list[tuple[int, int]], slots: list[int]
) -> None:
    grid = HonestGrid({f"s{number}": limit(most) for number, most in enumerate(slots)})
    asked = []
    for number, (at_s, length_s) in enumerate(sorted(arrivals)):
        before = len(grid.refused)
        grid.ask(number, float(at_s), float(length_s), 7400)
        kind = refused if len(grid.refused) > before else accepted
        asked.append(kind(f"r{number}", float(at_s), length_s=float(length_s), power_w=7400))
    records = {
        name: [session(each.request_id, each.start_s, each.end_s) for each in grid.stays.get(name, [])]
        for name in grid.limits
    }
    limits = {name: Limits(own.max_sessions) for name, own in grid.limits.items()}
    run = replace(run_of(*asked, records=records), limits=limits, sent_s=100)
    found = ideal.measure(run)
    assert found.blocked_pooled == pytest.approx(len(grid.refused) / len(asked))
    figures = placement.measure(records, limits, 0, 100, 100)
    assert figures.overloads == 0
    assert found.spread_jsq is not None


# -- what was asked ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "power_w", "length_s"),
    [
        ({}, None, None),
        ({"power_kw": 7.4, "energy_kwh": 7.4}, 7400, 3600),
        ({"power_kw": 11, "energy_kwh": 11, "departure_in_s": 60, "duration_s": 90}, 11_000, 60),
        ({"energy_kwh": 7.4, "departure_in_s": 60}, None, None),  # at what power, the substation says
        ({"duration_s": 5}, None, 5),
    ],
)
def test_what_an_ev_asked_for(body: dict[str, float], power_w: int | None, length_s: float | None) -> None:
    roll = Roll(lambda: 7.0)
    told = {"arrived_s": 5.0, "refused_s": 5.5, "reason": "grid-full"}
    roll.note(Order(0, "r1", {"ev_id": "EV1", **body}), Outcome("refused", "grid-full", None, 503, told))
    assert roll.asked == [Asked("r1", "refused", 7.0, None, "grid-full", power_w, length_s, 5.0, 5.5)]


def test_who_has_to_wait() -> None:
    roll = Roll(lambda: 7.0)
    for status in ("queued", "charging started"):
        roll.note(
            Order(0, status, {"ev_id": "EV1"}), Outcome("accepted", status=202, answer={"response": {"status": status}})
        )
    assert [each.queued for each in roll.asked] == [True, False]


def test_an_answer_that_tells_nothing() -> None:
    roll = Roll(lambda: 7.0)
    roll.note(Order(0, "r1", {"ev_id": "EV1"}), Outcome("refused", "503", None, 503, "full"))
    roll.note(Order(0, "r2", {"ev_id": "EV2"}), Outcome("refused", "503", None, 503, {"arrived_s": True}))
    assert [each.arrived_s for each in roll.asked] == [None, None]


# -- refusals that were not needed ------------------------------------------------------------------------------------
def written(paths: ClusterPaths, *states: tuple[str, str, float]) -> ClusterPaths:
    paths.folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {
            "ts": datetime.fromtimestamp(at_s, UTC).isoformat(),
            "seq": seq,
            "event": "state",
            "name": name,
            "role": "substation",
            "to": state,
        }
        for seq, (name, state, at_s) in enumerate(states, 1)
    ]
    paths.events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return paths


def judged(run: Run, paths: ClusterPaths) -> tuple[int | None, str]:
    return rejections.avoidable(run, gather(paths, (), ()).evidence)


def test_a_refusal_while_there_was_room(environment: dict[str, str], tmp_path: Any) -> None:
    records = {"a": [session("r1", 0, 10)], "b": [session("r2", 0, 4.9)]}
    asked = accepted("r1", 0), accepted("r2", 0), refused("r3", 5)
    run = run_of(*asked, records=records)
    ready = written(ClusterPaths(tmp_path, "one"), ("a", "READY", -9.0), ("b", "READY", -9.0), ("x", "READY", 99.0))
    assert judged(run, ready) == (1, "")
    paused = written(ClusterPaths(tmp_path, "two"), *[(name, "READY", -9.0) for name in "ab"], ("b", "PAUSED", 4.0))
    assert judged(run, paused) == (0, "")
    assert judged(run, written(ClusterPaths(tmp_path, "three"))) == (None, rejections.NO_EVENTS)
    assert rejections.avoidable(run, None) == (None, rejections.NO_EVENTS)
    undated = replace(run, asked=[*asked, Asked("r4", "refused", 5.0, None, "grid-full")])
    assert judged(undated, ready) == (None, rejections.UNDATED)
    assert rejections.avoidable(replace(run, asked=asked[:2]), None) == (0, "")
    assert judged(replace(run, asked=asked[2:]), ready) == (None, ideal.UNLIKE)


def test_what_a_journal_says_of_limits_counts_and_a_change_leaves_no_ideal(tmp_path: Any) -> None:
    folder = Folder(tmp_path)
    folder.substation("a", max_sessions=1)
    folder.limit("a", 4, 0)
    folder.limit("a", 8, 1)
    folder.session("a", "r1", 0, 1)
    folder.state("a", "STOPPED", 60)
    evidence = gather(folder.close(), (), ()).evidence
    asked = accepted("r1", START_S), refused("r2", START_S + 5), refused("r3", START_S + 9)
    run = run_of(*asked, records={"a": [session("r1", START_S, START_S + 1)]}, start_s=START_S - 1, now_s=START_S + 99)
    assert rejections.avoidable(run, evidence) == (1, "")
    assert rejections.limits_changed(run, evidence) == "the limits of a changed meanwhile"
    assert rejections.limits_changed(replace(run, start_s=START_S + 8), evidence) == ""
    assert rejections.limits_changed(run, None) == ""


# -- attempts ---------------------------------------------------------------------------------------------------------
PAGE = """# HELP balancer_attempts_total Attempts.
balancer_attempts_total{result="accepted"} 30.0
balancer_attempts_total{result="full"} 6.0
balancer_requests_total{outcome="accepted"} 30.0
balancer_decision_seconds_bucket{le="+Inf"} 999
"""


def test_counters_are_summed_over_their_labels() -> None:
    assert counters.parsed(PAGE) == Counted(36, 30)
    assert counters.parsed("balancer_requests_total 4\n") == Counted(0, 4)


@pytest.mark.parametrize(
    ("before", "after", "figure"),
    [
        ({"b": Counted(6, 5)}, {"b": Counted(18, 15)}, 1.2),
        ({"b": Counted(6, 5)}, {"b": Counted(3, 2)}, 1.5),  # it restarted
        ({"b": Counted(6, 5)}, {"b": Counted(18, 15), "c": Counted(10, 10)}, 1.1),
        ({"b": Counted(6, 5)}, {"b": Counted(6, 5)}, "saw no request"),
        ({"b": "gone"}, {"b": Counted(6, 5)}, "b: gone"),
        ({"b": Counted(6, 5)}, {"b": "gone"}, "b: gone"),
        ({}, {}, "no balancer"),
    ],
)
def test_attempts_by_requests(
    before: dict[str, Counted | str], after: dict[str, Counted | str], figure: float | str
) -> None:
    found, why = counters.attempts_per_request(before, after)
    if isinstance(figure, str):
        assert found is None
        assert figure in why
    else:
        assert found == pytest.approx(figure)
