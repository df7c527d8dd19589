"""From flags to arrivals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from multidict import CIMultiDict

from config.errors import Invalid
from gridctl.loadtest import scenario
from gridctl.loadtest.arrivals import EV_ID_LIMIT, Arrival, Identity, Order
from gridctl.loadtest.scenario import Flags, Scenario
from services.tracing import parent_of

TRACE = """session_id,site,arrival,departure,energy_kwh,max_power_kw
x,A,2020-01-13T17:00:00,2020-01-13T19:00:00,9.5,7.2
x,A,2020-01-14T18:00:00,2020-01-14T19:00:00,4,
"""


def made(flags: Flags, time_scale: float = 1.0, seed: int = 7) -> Scenario:
    return scenario.read(flags).scenario(time_scale, seed)


def times(flags: Flags, time_scale: float = 1.0, seed: int = 7) -> list[float]:
    return [arrival.at_s for arrival in made(flags, time_scale, seed).arrivals()]


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return path


def faults(flags: Flags) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        scenario.read(flags)
    return {fault.where: f"{fault.found} / {fault.allowed}" for fault in caught.value.faults}


def test_without_flags_it_is_the_reference_run() -> None:
    assert times(Flags()) == [2.0 * k for k in range(150)]


def test_time_scale_plays_the_same_scenario_faster() -> None:
    run = made(Flags(), time_scale=10)
    assert [arrival.at_s for arrival in run.arrivals()] == pytest.approx([0.2 * k for k in range(150)])
    assert run.duration_s == pytest.approx(30)
    assert run.rate_per_s == pytest.approx(5)


def test_wall_takes_times_as_they_are() -> None:
    run = made(Flags(rate="2", duration="3s", wall=True), time_scale=10)
    assert [arrival.at_s for arrival in run.arrivals()] == [0, 0.5, 1, 1.5, 2, 2.5]
    assert run.rate_per_s == 2


def test_a_burst_alone_is_at_once_and_with_a_rate_in_addition() -> None:
    assert times(Flags(burst=3)) == [0, 0, 0]
    assert times(Flags(burst=2, rate="1", duration="3s")) == [0, 0, 0, 1, 2]
    assert made(Flags(burst=2)).rate_per_s is None


def test_stages_have_no_single_rate() -> None:
    run = made(Flags(stages="1:2s,2:1s"))
    assert [arrival.at_s for arrival in run.arrivals()] == [0, 1, 2, 2.5]
    assert run.rate_per_s is None


def test_the_same_seed_gives_the_same_arrivals() -> None:
    flags = Flags(profile="rush-hour", rate="0.01", arrivals="poisson")
    assert list(made(flags).arrivals()) == list(made(flags).arrivals())
    assert list(made(flags).arrivals()) != list(made(flags, seed=8).arrivals())


def test_evs_of_a_profile_say_what_they_want() -> None:
    run = made(Flags(profile="home", rate="0.001", start="18:00", end="19:00"))
    arrivals = list(run.arrivals())
    assert len(arrivals) == pytest.approx(3.6 * 24 * 0.17, abs=1)
    assert all(set(arrival.charge) == {"energy_kwh", "departure_in_s", "power_kw"} for arrival in arrivals)
    assert run.duration_s == 3600
    assert made(Flags(profile="home", duration="10m")).duration_s == pytest.approx(600)


def test_a_replay_runs_at_the_time_scale_unless_told(trace_file: Path) -> None:
    flags = Flags(replay=trace_file)
    assert times(flags, time_scale=60) == [0, 25 * 60]
    assert times(replace(flags, speed=3600.0), time_scale=60) == [0, 25]
    assert times(replace(flags, speed=3600.0, fold_days=True), time_scale=60) == [0, 1]
    assert times(replace(flags, start="2020-01-14")) == [0]
    assert times(replace(flags, burst=2, speed=3600.0)) == [0, 0, 0, 25]


def test_bad_flags_are_all_named(trace_file: Path) -> None:
    assert set(faults(Flags(rate="x", duration="0s", burst=0, speed=1.0))) == {
        *("--rate", "--duration", "--burst", "--speed"),
    }
    assert set(faults(Flags(rate="1", stages="1:1s", fold_days=True))) == {"--rate", "--fold-days"}
    assert set(faults(Flags(stages="1:1s", profile="home"))) == {"--profile"}
    assert set(faults(Flags(replay=trace_file, rate="1", duration="1s", wall=True, speed=-1.0))) == {
        *("--rate", "--duration", "--wall", "--speed"),
    }


def test_a_window_is_both_times_or_both_moments(trace_file: Path) -> None:
    assert "--until" in faults(Flags(replay=trace_file, start="17:00", end="2020-01-14"))
    assert "--from" in faults(Flags(profile="home", start="2020-01-14"))
    assert "--from" in faults(Flags(replay=trace_file, start="2020-01-14T10:00Z"))
    assert "--from" in faults(Flags(replay=trace_file, start="late"))
    assert "--from" in faults(Flags(start="17:00"))


def test_a_window_without_a_session_is_a_fault(trace_file: Path) -> None:
    assert "no session (03:00 04:00)" in faults(Flags(replay=trace_file, start="03:00", end="04:00"))["--replay"]


def test_ids_are_legal_and_unique() -> None:
    ids = Identity("abcd", 1234)
    arrivals = [
        Arrival(0),
        Arrival(1, {"power_kw": 7.4}),
        Arrival(2, {}, "x"),
        Arrival(3, {}, "x"),
        Arrival(4, {}, "y" * 500),
    ]
    orders = list(ids.orders(arrivals))
    assert [order.body["ev_id"] for order in orders[:4]] == ["EV1234", "EV1235", "x-abcd-2", "x-abcd-3"]
    assert orders[1].body == {"ev_id": "EV1235", "power_kw": 7.4}
    assert len(orders[4].body["ev_id"]) == EV_ID_LIMIT
    assert [order.request_id for order in orders[:2]] == ["lt-abcd-0", "lt-abcd-1"]


def test_each_order_begins_a_trace_that_the_same_seed_gives_again() -> None:
    def traces(seed: int) -> list[str]:
        return [order.traceparent for order in Identity("abcd", 1234).orders([Arrival(0)] * 1000, Random(seed))]

    assert traces(1) == traces(1)
    assert len({*traces(1), *traces(2)}) == 2000
    for traceparent in traces(1):
        parent = parent_of(CIMultiDict({"traceparent": traceparent}))
        assert parent is not None
        assert (parent.sampled, parent.trace_id) == (True, Order(0, "r1", {}, traceparent).trace_id)
