"""Built-in days."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridctl.loadtest.profiles import HOUR_S, PROFILES, Profile, quantile

EACH = pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))


@EACH
def test_a_profile_has_24_hours_that_are_all_of_the_day(profile: Profile) -> None:
    assert len(profile.hourly_pct) == 24
    assert sum(profile.hourly_pct) == pytest.approx(100, abs=1.0)
    assert list(profile.energy_kwh) == sorted(profile.energy_kwh)
    assert list(profile.connected_h) == sorted(profile.connected_h)
    assert len(profile.energy_kwh) == len(profile.connected_h) == 7


@EACH
def test_the_rate_is_the_mean_over_the_whole_day(profile: Profile) -> None:
    assert profile.pace(0.5, 0, 24 * HOUR_S).arrivals == pytest.approx(0.5 * 24 * HOUR_S)


def test_rush_hour_is_the_evening_of_a_residential_weekday() -> None:
    pace = PROFILES["rush-hour"].pace(1.0)
    assert pace.duration_s == 6 * HOUR_S
    assert pace.arrivals / (24 * HOUR_S) == pytest.approx(0.56, abs=0.01)


def test_a_window_may_begin_inside_an_hour_and_go_over_midnight() -> None:
    profile = PROFILES["home"]
    pace = profile.pace(1.0, 23.5 * HOUR_S, 1 * HOUR_S)
    assert [stage.duration_s for stage in pace.stages] == [1800, 3600]
    assert pace.stages[0].rate_from == pytest.approx(24 * profile.share(23))
    assert pace.stages[1].rate_from == pytest.approx(24 * profile.share(0))


@given(st.floats(0, 1), st.floats(0, 1))
def test_quantiles_grow_and_stay_in_the_row(one: float, other: float) -> None:
    row = PROFILES["public"].energy_kwh
    low, high = sorted((one, other))
    assert row[0] <= quantile(row, low) <= quantile(row, high) <= row[-1]


def test_a_quantile_of_the_table_is_itself() -> None:
    row = PROFILES["home"].energy_kwh
    assert quantile(row, 0.5) == row[3]
    assert quantile(row, 0.625) == pytest.approx((row[3] + row[4]) / 2)


def test_samples_have_the_median_of_the_table() -> None:
    rng = Random(1)
    profile = PROFILES["workplace"]
    samples = [profile.sample(rng) for _ in range(2000)]
    assert sorted(sample["energy_kwh"] for sample in samples)[1000] == pytest.approx(8.8, rel=0.1)
    assert sorted(sample["departure_in_s"] for sample in samples)[1000] == pytest.approx(4.9 * HOUR_S, rel=0.1)
    assert {sample["power_kw"] for sample in samples} == set(profile.powers_kw)
