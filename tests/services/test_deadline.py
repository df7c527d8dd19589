"""What remains of a client's patience, hop by hop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.deadline import HEADER, MOST_KEPT_S, grant, time_left_s, usable_s


@pytest.mark.parametrize(
    ("text", "left_s"),
    [("1000", 0.95), ("60000", 59.75), ("", 9.75), ("-5", 9.75), ("1e3", 9.75), ("٣", 9.75), ("9" * 30, 9.75)],
)
def test_what_is_granted_counts_less_a_little(text: str, left_s: float) -> None:
    assert time_left_s({HEADER: text}, 10.0) == pytest.approx(left_s)


def test_without_the_header_the_default_counts() -> None:
    assert time_left_s({}, 2.0) == pytest.approx(1.9)


def test_nobody_is_granted_more_than_an_hour_however_that_was_said() -> None:
    assert time_left_s({HEADER: "9" * 9}, 10.0) == usable_s(1e9) == 3600.0 - MOST_KEPT_S


@given(st.floats(0.002, 3_000.0))
def test_every_hop_has_less_than_the_one_before(remaining_s: float) -> None:
    assert time_left_s(grant(remaining_s), 10.0) < remaining_s
