"""When EVs arrive: without a second passing."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridctl.loadtest import pacing
from gridctl.loadtest.pacing import Pace, Stage

RATES = st.floats(0, 20)
STAGES = st.lists(st.builds(Stage, RATES, RATES, st.floats(0.1, 60)), min_size=1, max_size=5)
PACES = st.builds(lambda stages: Pace(tuple(stages)), STAGES)


def test_half_an_ev_a_second_for_five_minutes_is_one_every_two_seconds() -> None:
    assert list(pacing.uniform(pacing.constant(0.5, 300))) == [2.0 * k for k in range(150)]


def test_rounding_adds_no_ev() -> None:
    assert len(list(pacing.uniform(pacing.constant(0.1, 30)))) == 3


def test_a_ramp_is_closed_form() -> None:
    # from 0 to 2 EVs/s in 10 s: the integral is t²/10, so the k-th arrives at sqrt(10 k)
    times = list(pacing.uniform(Pace((Stage(0, 2, 10),))))
    assert times == pytest.approx([math.sqrt(10 * k) for k in range(10)])


def test_a_pause_between_stages_brings_nobody() -> None:
    times = list(pacing.uniform(Pace((Stage(1, 1, 2), Stage(0, 0, 100), Stage(1, 1, 2)))))
    assert times == pytest.approx([0, 1, 102, 103])


def test_a_burst_is_all_at_once() -> None:
    assert list(pacing.burst(3)) == [0.0, 0.0, 0.0]


@given(PACES)
def test_as_many_arrive_as_the_integral_of_the_rate_says(pace: Pace) -> None:
    count = len(list(pacing.uniform(pace)))
    assert math.floor(pace.arrivals - 1e-6) <= count <= math.ceil(pace.arrivals)


@given(PACES, st.integers(0, 99))
def test_times_never_go_back_and_stay_inside(pace: Pace, seed: int) -> None:
    for times in (list(pacing.uniform(pace)), list(pacing.poisson(pace, Random(seed)))):
        assert times == sorted(times)
        assert all(0 <= at_s <= pace.duration_s + 1e-9 for at_s in times)


@given(st.builds(Stage, st.floats(0.01, 20), st.floats(0, 20), st.floats(0.1, 60)), st.floats(0, 1))
def test_when_is_the_inverse_of_the_integral(stage: Stage, share: float) -> None:
    at_s = stage.when(share * stage.arrivals)
    slope = (stage.rate_to - stage.rate_from) / stage.duration_s
    assert stage.rate_from * at_s + slope * at_s**2 / 2 == pytest.approx(share * stage.arrivals, rel=1e-6, abs=1e-6)


@given(PACES, st.integers(0, 99))
def test_the_same_seed_gives_the_same_times(pace: Pace, seed: int) -> None:
    assert list(pacing.poisson(pace, Random(seed))) == list(pacing.poisson(pace, Random(seed)))


def test_poisson_arrivals_have_the_mean_and_variance_of_their_rate() -> None:
    pace = Pace((Stage(1, 3, 20), Stage(5, 5, 12)))
    counts = [len(list(pacing.poisson(pace, Random(seed)))) for seed in range(1000)]
    mean = sum(counts) / len(counts)
    assert mean == pytest.approx(pace.arrivals, abs=4 * math.sqrt(pace.arrivals / 1000))
    assert sum((count - mean) ** 2 for count in counts) / len(counts) == pytest.approx(pace.arrivals, rel=0.25)


def test_poisson_arrivals_follow_a_ramp() -> None:
    first = [sum(at_s < 10 for at_s in pacing.poisson(Pace((Stage(0, 4, 20),)), Random(seed))) for seed in range(500)]
    assert sum(first) / 500 == pytest.approx(10, abs=0.6)  # a quarter of 40


@given(PACES, st.floats(0.1, 400))
def test_a_cut_pace_lasts_as_long_as_asked(pace: Pace, duration_s: float) -> None:
    assert pace.cut(duration_s).duration_s == pytest.approx(duration_s)


def test_a_cut_goes_through_a_ramp_and_begins_again() -> None:
    pace = Pace((Stage(0, 2, 10),))
    assert pace.cut(5) == Pace((Stage(0, 1, 5),))
    assert pace.cut(15).stages == (Stage(0, 2, 10), Stage(0, 1, 5))


def test_only_a_rate_that_never_changes_is_constant() -> None:
    assert Pace((Stage(2, 2, 1), Stage(2, 2, 5))).constant_rate == 2
    assert Pace((Stage(2, 3, 1),)).constant_rate is None
