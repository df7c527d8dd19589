"""Conditions of --fail-if."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridctl.loadtest import thresholds

VALUES = {"overloads": 2.0, "p99_ms": 7.5, "blocked_share": 0.05, "erlang_b": 0.04, "sent": 10.0, "failed": 0.0}


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("overloads > 0", "overloads > 0: 2"),
        ("overloads>2", None),
        ("overloads >= 2", "overloads >= 2: 2"),
        ("p99_ms < 50", "p99_ms < 50: 7.5"),
        ("blocked_share > 1.1*erlang_b", "blocked_share > 1.1*erlang_b: 0.05 > 0.044"),
        ("blocked_share > 2 * erlang_b", None),
        ("sent - overloads * 2 == 6", "sent - overloads * 2 == 6: 6"),
        ("(sent - overloads) * 2 != 16", None),
        ("failed / sent > .01", None),
        ("-failed > -1", "-failed > -1: 0 > -1"),
        ("10 <= sent", "10 <= sent: 10 <= 10"),
        ("excess > 0", "excess > 0: cannot be checked, unknown: excess"),
        ("sent / failed > 1", "sent / failed > 1: cannot be checked, unknown: a division by 0"),
        ("sent > 1e1", None),
    ],
)
def test_a_condition_holds_or_not(text: str, verdict: str | None) -> None:
    assert thresholds.read(text).verdict(VALUES.get) == verdict


@pytest.mark.parametrize(
    "text",
    [
        *("", "overloads", "overloads >", "> 3", "overloads > 0 > 1", "1x > 3", "overloads > (1", "overloads > $"),
        *("overloads > 1.2.3", "sent > 0 and failed > 0", "sent = 1", "(" * 150 + "sent > 1", "s" * 300),
    ],
)
def test_what_is_no_condition_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        thresholds.read(text)


@pytest.mark.parametrize("key", ["overload", "p100_ms", "per_substation.a.load", "import os", "p5.5.5_ms"])
def test_an_unknown_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"known keys|such as"):
        thresholds.read(f"{key} > 1")


def test_a_substation_may_have_dots_and_dashes_in_its_name() -> None:
    condition = thresholds.read("per_substation.north-1.b.share > 0.4")
    assert condition.names() == {"per_substation.north-1.b.share"}
    assert condition.verdict({"per_substation.north-1.b.share": 0.5}.get) == f"{condition.text}: 0.5"


def test_every_percentile_has_a_name() -> None:
    assert thresholds.read("p50_ms > p99.9_ms").names() == {"p50_ms", "p99.9_ms"}


def test_all_that_failed_are_named() -> None:
    conditions = [thresholds.read(text) for text in ("overloads > 0", "sent > 99", "p99_ms > 5")]
    assert thresholds.failed(conditions, VALUES.get) == ["overloads > 0: 2", "p99_ms > 5: 7.5"]


@given(st.text(alphabet="overloads p9_ms.>=<!()+-*/ 0123456789", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        thresholds.read(text).verdict(VALUES.get)
