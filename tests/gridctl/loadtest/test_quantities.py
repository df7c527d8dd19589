"""Durations, rates and stages as typed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridctl.loadtest import quantities
from gridctl.loadtest.pacing import Stage


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1h", 3600), ("250ms", 0.25), ("1h30m", 5400), ("90", 90), (".5s", 0.5), ("0", 0)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert quantities.duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "x", "5 m", "-5s", "1e400", "nan", "inf", "5mm", "s", "9" * 400])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|finite"):
        quantities.duration_s(text)


@pytest.mark.parametrize(("text", "rate"), [("0.5", 0.5), ("30/m", 0.5), ("1800/h", 0.5), ("2/s", 2), ("0", 0)])
def test_a_rate_is_read(text: str, rate: float) -> None:
    assert quantities.rate_per_s(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["", "-1", "1/week", "nan", "1/", "9" * 400])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate|finite"):
        quantities.rate_per_s(text)


def test_stages_are_constant_or_ramps() -> None:
    assert quantities.stages("0.5:60s, 2:5m,0.5..3:10m") == (
        Stage(0.5, 0.5, 60),
        Stage(2, 2, 300),
        Stage(0.5, 3, 600),
    )


@pytest.mark.parametrize("text", ["", "1", "1:0s", "1..:5s", "1:5s,", "a:5s"])
def test_what_is_no_stage_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate|stages|RATE|duration"):
        quantities.stages(text)


@given(st.text(max_size=12), st.sampled_from([quantities.duration_s, quantities.rate_per_s, quantities.stages]))
def test_any_text_is_read_or_refused(text: str, read: Callable[[str], object]) -> None:
    with contextlib.suppress(ValueError):
        read(text)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.25, "0.25 s"), (30, "30 s"), (300, "5 min"), (5400, "1 h 30 min"), (86400, "24 h")]
)
def test_a_duration_is_spoken(seconds: float, words: str) -> None:
    assert quantities.spoken(seconds) == words
