"""Timestamps, raw lines and the merge: laws that hold for any logs."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridctl.logs.lines import Line, Reorder, Stamper, level_reached, merged, parse
from tests.gridctl.logs.written import ZERO_S, record

RAW = st.sampled_from(["Traceback (most recent call last):", "  File x", "", "{broken", '{"ts": 3}', "[1]"])
LINES = st.lists(st.one_of(st.integers(0, 20).map(record), RAW), max_size=30)


def stamped(name: str, texts: list[str]) -> list[Line]:
    stamper = Stamper(name)
    lines = [line for text in texts for line in stamper.stamp(text.encode())]
    return lines + list(stamper.settle(ZERO_S + 5))


@given(st.lists(LINES, max_size=5))
def test_the_merge_is_ordered_in_time_a_permutation_and_keeps_each_files_order(files: list[list[str]]) -> None:
    sources = [stamped(f"s{number}", texts) for number, texts in enumerate(files)]
    result = list(merged(sources))
    assert all(first.at_s <= second.at_s for first, second in pairwise(result))
    assert Counter((line.name, line.text) for line in result) == Counter(
        (f"s{number}", text) for number, texts in enumerate(files) for text in texts
    )
    for number, texts in enumerate(files):
        assert [line.text for line in result if line.name == f"s{number}"] == texts


@given(st.lists(LINES, max_size=5))
def test_raw_lines_stay_with_the_line_before_them(files: list[list[str]]) -> None:
    sources = [stamped(f"s{number}", texts) for number, texts in enumerate(files)]
    result = list(merged(sources))
    for before, line in pairwise(result):
        if line.record is None and line.name != before.name:
            first = next(other for other in result if other.name == line.name)
            assert line is first  # only what has no line before it in its own file may follow another process's


@given(st.lists(st.lists(st.floats(0, 10), max_size=8), min_size=1, max_size=8))
def test_a_live_log_loses_nothing_and_holds_back_for_one_round_only(rounds: list[list[float]]) -> None:
    reorder = Reorder()
    shown: list[Line] = []
    for number, times in enumerate(rounds):
        lines = [Line(at, "s", str(number), None) for at in times]
        out = reorder.round(lines, now_s=5.0)
        assert all(first.at_s <= second.at_s for first, second in pairwise(out))
        assert all(int(line.text) >= number - 1 for line in out)
        shown += out
    assert len(shown + reorder.round([], 5.0)) == sum(map(len, rounds))


def test_raw_lines_at_the_beginning_take_the_next_record_or_the_files_time() -> None:
    first, second = stamped("s", ["oops", record(3)])
    assert (first.at_s, first.record) == (second.at_s, None) == (ZERO_S + 3, None)
    assert [line.at_s for line in stamped("s", ["oops", "again"])] == [ZERO_S + 5] * 2


def test_raw_lines_do_not_wait_forever() -> None:
    lines = stamped("s", ["x"] * 3000)
    assert len(lines) == 3000


def test_a_clock_that_goes_back_does_not_reorder_a_file() -> None:
    assert [line.at_s - ZERO_S for line in stamped("s", [record(9), record(4), record(10)])] == [9, 9, 10]


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"{}", b'{"ts": 1}', b'{"ts": "then"}', b'{"ts": null}', b"[]", b"{" * 9999, b"\xff{", b"{\xff"]
)
def test_what_is_no_record(raw: bytes) -> None:
    assert parse(raw) is None


def test_timestamps_with_any_offset() -> None:
    for text in ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00"):
        parsed = parse(f'{{"ts": "{text}"}}'.encode())
        assert parsed is not None
        assert parsed[0] == ZERO_S


def test_levels() -> None:
    assert level_reached({"level": "info"}, None)
    assert level_reached({"level": "error"}, "warning")
    assert not level_reached({"level": "info"}, "warning")
    assert level_reached(None, "critical")
    assert level_reached({"level": "verbose"}, "critical")
