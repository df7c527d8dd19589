"""Numbers as short text, bars, sparklines and shortened names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridctl.top import figures, tones
from gridctl.top.bars import ASCII, HISTORY_SAMPLES, UNICODE, bar, glyphs_for, sparkline, sparkline_cells
from gridctl.top.spans import clip, common_prefix, flow, narrow, pad, shorten

sizes = st.floats(min_value=0, max_value=1e300)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (9999, "9999"), (9999.6, "10k"), (12_345, "12k"), (1_234_567, "1.2M"), (10**9, "1.0G")],
)
def test_counts(value: float | None, text: str) -> None:
    assert figures.count(value) == text


@given(sizes)
def test_every_figure_is_short(value: float) -> None:
    assert max(map(len, (figures.count(value), figures.power(value), figures.rate(value)))) <= 5
    assert len(figures.percent(value)) <= 6
    assert len(figures.memory(value)) <= 6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (-1, "0s"), (45.9, "45s"), (200, "3m 20s"), (7500, "2h 05m"), (273600, "3d 04h")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert figures.duration(seconds) == text


def test_power_rate_and_memory() -> None:
    assert [figures.power(kw) for kw in (7.4, 37.0, 740, 0.04)] == ["7.4", "37", "740", "0"]
    assert [figures.rate(per_s) for per_s in (0.25, 9.999, 12.34, 240.4)] == ["0.25", "10.0", "12.3", "240"]
    assert [figures.memory(size) for size in (12 << 20, 1200 << 20, None)] == ["12M", "1.2G", "-"]


def test_a_share_of_an_unknown_limit_is_the_figure_alone() -> None:
    assert figures.share(5, 10, figures.count) == "5/10"
    assert figures.share(None, 10, figures.count) == "-/10"
    assert figures.share(None, None, figures.count) == "-"


@pytest.mark.parametrize("strange", [None, "7", True, float("nan"), float("inf"), 10**400, []])
def test_what_is_no_number_is_unknown(strange: object) -> None:
    assert figures.number({"a": strange}, "a") is None


@given(st.none() | st.floats(min_value=-10, max_value=1e6), st.integers(1, 40))
def test_a_bar_is_exactly_as_wide_as_asked(pct: float | None, width: int) -> None:
    filled, track = bar(pct, width, UNICODE)
    assert len(filled) + len(track) == width
    assert bool(filled) == bool(pct is not None and pct > 0)
    assert filled.endswith("!") == bool(pct is not None and pct > 100.5)


@given(st.lists(st.none() | st.floats(0, 200), max_size=100), st.integers(1, 120))
def test_a_sparkline_is_exactly_as_wide_as_asked(history: list[float | None], width: int) -> None:
    assert len(sparkline(history, width, UNICODE)) == width


def test_a_sparkline_ends_with_the_newest() -> None:
    assert sparkline([0.0] * 45 + [100.0] * 45, 10, UNICODE) == "▁▁▁▁▁█████"
    assert sparkline([100.0], HISTORY_SAMPLES, UNICODE) == "█".rjust(HISTORY_SAMPLES)
    assert sparkline([None, 50.0], HISTORY_SAMPLES, ASCII).endswith("  =") or sparkline([None], 3, ASCII) == "   "
    assert sparkline([], 0, UNICODE) == ""


@given(st.integers(1, 200))
def test_a_sparkline_of_the_whole_window_leaves_no_cell_blank(width: int) -> None:
    cells = sparkline_cells(width)
    assert cells <= width
    assert " " not in sparkline([50.0] * HISTORY_SAMPLES, cells, UNICODE)


def test_glyphs_follow_the_encoding() -> None:
    assert glyphs_for("utf-8") is UNICODE
    assert glyphs_for("ascii") is glyphs_for(None) is glyphs_for("no such encoding") is ASCII
    assert set(UNICODE.marks) == set(ASCII.marks) == {*tones.NOTABLE, "READY"}


def test_marks_tell_states_apart() -> None:
    assert len(set(UNICODE.marks.values())) == len(set(ASCII.marks.values())) == len(UNICODE.marks)


@given(st.text(max_size=30), st.integers(0, 30))
def test_shortened_text_fits(text: str, width: int) -> None:
    assert len(shorten(text, width, "…")) <= width


def test_shortening_keeps_the_end() -> None:
    assert shorten("substation-100", 10, "…") == "sub…on-100"


def test_only_narrow_characters_pass() -> None:
    assert narrow("a\x1b[31m\n電é\u0301", ascii_only=False) == "a?[31m??é?"
    assert narrow("aé…") == "a??"


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (["substation1", "substation100"], "substation"),
        (["substation10", "substation11"], "substation"),
        (["substation", "substation1"], ""),
        (["a1", "a2"], ""),
        (["north", "south"], ""),
        (["one"], ""),
    ],
)
def test_the_common_prefix_of_names(names: list[str], prefix: str) -> None:
    assert common_prefix(names) == prefix


def test_lines_are_clipped_padded_and_packed() -> None:
    line = (("abc", "good"), ("def", ""))
    assert clip(line, 4) == (("abc", "good"), ("d", ""))
    assert pad(line, 8)[-1] == ("  ", "")
    assert flow([line, line, line], 15, gap=3) == [(*line, ("   ", ""), *line), line]
    assert flow([line], 2) == [(("ab", "good"),)]


def test_load_is_calm_until_it_is_full() -> None:
    assert [tones.of_load(pct) for pct in (None, 0, 74, 75, 100, 101)] == [
        "faint",
        "good",
        "good",
        "busy",
        "full",
        "bad",
    ]
    assert (
        tones.notability("FATAL") < tones.notability("DRAINING") < tones.notability("odd") < tones.notability("READY")
    )
