"""Pages that third parties may serve."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.balancer.gauge import Unreadable, read_gauge

LOAD = "current_load"


@pytest.mark.parametrize(
    ("page", "sessions"),
    [
        ("current_load 7", 7),
        ("# HELP current_load x\n# TYPE current_load gauge\ncurrent_load 3.0\n", 3),
        ('current_load{site="a} 9",note="say \\"hi\\""} 4 1700000000000\n', 4),
        ('current_load{site="a"} 1\ncurrent_load{site="b"} 2\n', 3),
        ("current_load 2.2\n", 3),
        ("current_load 1e1\n", 10),
        ("current_load_total 5\nxcurrent_load 6\ncurrent_load 0\n", 0),
        ("current_load{} 5\n", 5),
    ],
)
def test_reads(page: str, sessions: int) -> None:
    assert read_gauge(page, LOAD) == sessions


@pytest.mark.parametrize(
    "page",
    [
        "",
        "current_load",
        "current_load NaN",
        "current_load +Inf",
        "current_load -1",
        "current_load 1e308",
        "current_load twelve",
        "current_load 1\ncurrent_load NaN",
        "current_load 1e308\ncurrent_load 1e308",
        "<html>502 Bad Gateway</html>",
    ],
)
def test_refuses_what_cannot_be_a_load(page: str) -> None:
    with pytest.raises(Unreadable):
        read_gauge(page, LOAD)


@given(st.text())
def test_any_text_is_a_count_or_unreadable(page: str) -> None:
    with contextlib.suppress(Unreadable):
        assert 0 <= read_gauge(page, LOAD) <= 10**9
