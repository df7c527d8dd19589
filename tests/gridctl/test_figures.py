"""Figures as people read them."""

from __future__ import annotations

import pytest

from gridctl.figures import count, duration, percent, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0, "0s"), (59.9, "59s"), (60, "1m00s"), (3_725, "1h02m"), (90_000, "1d01h"), (-3, "0s")],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (12, "12B"), (6_400_000, "6.1M"), (2**40, "1.0T"), (2**50, "1024.0T")]
)
def test_size(value: float | None, text: str) -> None:
    assert size(value) == text


def test_percent_and_count() -> None:
    assert (percent(None), percent(99.95), count(None), count(0)) == ("-", "100.0%", "-", "0")
