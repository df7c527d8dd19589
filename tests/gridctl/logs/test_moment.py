"""`--since`: an instant, as people give it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import Invalid
from gridctl.logs.moment import instant
from tests.gridctl.logs.written import ZERO_S

NOW_S = 2e9


@pytest.mark.parametrize(
    ("text", "before_s"), [("90s", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("500ms", 0.5), ("1.5h", 5400)]
)
def test_spans_count_back_from_now(text: str, before_s: float) -> None:
    assert instant(text, NOW_S) == NOW_S - before_s


def test_iso_times_and_unix_seconds() -> None:
    assert instant("2026-01-01T00:00:00Z", NOW_S) == ZERO_S
    assert instant("2026-01-01T01:00+01:00", NOW_S) == ZERO_S
    assert instant(f"{ZERO_S:.0f}", NOW_S) == ZERO_S
    assert abs(instant("2026-01-01", NOW_S) - ZERO_S) <= 14 * 3600  # local time


@pytest.mark.parametrize(
    "text", ["", "5", "5x", "m", "-5m", "yesterday", "0001-01-01", "5m ago", "20260", "5m\n", "٣m"]
)
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(Invalid, match="allowed: a span before now"):
        instant(text, NOW_S)


@given(st.text())
def test_no_text_is_a_surprise(text: str) -> None:
    with contextlib.suppress(Invalid):
        assert isinstance(instant(text, NOW_S), float)
