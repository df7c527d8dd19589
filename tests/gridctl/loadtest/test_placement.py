"""Figures of placement: by hand, and against a plain count at many moments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridctl.loadtest import placement
from gridctl.loadtest.placement import Limits, Session

TEN = Limits(10)


def session(start_s: float, end_s: float, power_w: int = 7400, name: str = "r") -> Session:
    return Session(name, start_s, end_s, power_w, end_s - start_s)


def test_nothing_happened() -> None:
    figures = placement.measure({"a": [], "b": []}, {"a": TEN, "b": TEN}, 0, 10, 10)
    assert (figures.overloads, figures.peak_load_pct, figures.excess, figures.spread) == (0, 0.0, None, 0.0)
    assert figures.peak_sessions == {"a": 0, "b": 0}


def test_who_ends_makes_room_for_who_begins_at_that_moment() -> None:
    records = {"a": [session(0, 5), session(5, 9)]}
    figures = placement.measure(records, {"a": Limits(1)}, 0, 10, 10)
    assert figures.peak_sessions == {"a": 1}
    assert figures.overloads == 0
    assert figures.excess == 0


def test_two_where_one_fits() -> None:
    # one too many from 4 to 6: 2 of 12 session seconds, and one arrival that was too much
    figures = placement.measure({"a": [session(0, 6), session(4, 10)]}, {"a": Limits(1)}, 0, 10, 10)
    assert figures.overloads == 1
    assert figures.peak_load_pct == 200
    assert figures.excess == pytest.approx(2 / 12)


def test_a_burst_into_one_substation_counts_each_ev_that_was_too_many() -> None:
    figures = placement.measure({"a": [session(0, 6)] * 13}, {"a": TEN}, 0, 1, 10)
    assert figures.overloads == 3


def test_power_is_a_limit_of_its_own_and_ten_of_7_4_fit_in_74() -> None:
    limits = Limits(20, 74_000)
    assert placement.measure({"a": [session(0, 6)] * 10}, {"a": limits}, 0, 1, 10).overloads == 0
    figures = placement.measure({"a": [session(0, 6)] * 11}, {"a": limits}, 0, 1, 10)
    assert figures.overloads == 1
    assert figures.peak_load_pct == pytest.approx(110)
    assert figures.excess == pytest.approx(1 / 11)


def test_spread_is_the_mean_over_time_of_most_less_least() -> None:
    # a: 2 from 0 to 4; b: 1 from 2 on; spread 2, 1, 1 (b alone) over 0-2, 2-4, 4-8
    records = {"a": [session(0, 4), session(0, 4)], "b": [session(2, 20)]}
    figures = placement.measure(records, {"a": TEN, "b": TEN}, 0, 8, 20)
    assert figures.spread == pytest.approx((2 * 2 + 1 * 2 + 1 * 4) / 8)


def test_what_ran_before_counts_as_load_and_not_as_an_arrival() -> None:
    figures = placement.measure({"a": [session(-5, 5), session(-5, 5)]}, {"a": Limits(1)}, 0, 5, 10)
    assert figures.peak_sessions == {"a": 2}
    assert figures.overloads == 0
    assert figures.excess == pytest.approx(0.5)


def test_no_time_has_no_spread() -> None:
    assert placement.measure({"a": [session(0, 1)]}, {"a": TEN}, 0, 0, 5).spread is None


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, list[Session]]:
    moments = st.integers(-5, 30)
    made = st.builds(
        lambda start, length, watts: session(start, start + length, watts),
        moments,
        st.integers(0, 20),
        st.sampled_from([3700, 7400, 11000]),
    )
    names = ["a", "b", "c"][: draw(st.integers(1, 3))]
    return {name: draw(st.lists(made, max_size=12)) for name in names}


@given(worlds(), st.integers(1, 6), st.one_of(st.none(), st.integers(10, 60)))
def test_figures_agree_with_a_plain_count_each_second(
    records: dict[str, list[Session]], most: int, capacity_kw: int | None
) -> None:
    limits = dict.fromkeys(records, Limits(most, capacity_kw and capacity_kw * 1000))
    figures = placement.measure(records, limits, 0, 20, 30)

    def running(name: str, second: int) -> list[Session]:
        return [s for s in records[name] if s.start_s <= second < s.end_s]

    counts = {name: [len(running(name, second)) for second in range(31)] for name in records}
    assert figures.peak_sessions == {name: max(own) for name, own in counts.items()}
    spreads = [max(own[t] for own in counts.values()) - min(own[t] for own in counts.values()) for t in range(20)]
    assert figures.spread == pytest.approx(sum(spreads) / 20)
    area = sum(own[t] for own in counts.values() for t in range(30))
    over = sum(max(0, own[t] - most) for own in counts.values() for t in range(30))
    if area and capacity_kw is None:
        assert figures.excess == pytest.approx(over / area)
    assert (figures.overloads > 0) <= (figures.peak_load_pct > 100)


def test_of_two_limits_the_narrower_and_the_wider() -> None:
    one, other = Limits(10, 74_000), Limits(20, 37_000)
    assert (one.narrower(other), one.wider(other)) == (Limits(10, 37_000), Limits(20, 74_000))
    assert (one.narrower(TEN), one.wider(TEN)) == (Limits(10, 74_000), TEN)
