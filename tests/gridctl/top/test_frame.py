"""What a frame shows, and that it fits: contents at usual sizes, invariants at every size and for every snapshot."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from gridctl.top.bars import ASCII
from gridctl.top.layout import Frame, frame, whole_frame
from gridctl.top.paint import STYLES
from gridctl.top.spans import plain
from tests.gridctl.top.snapshots import lively, strange

sizes = st.tuples(st.integers(1, 220), st.integers(1, 60))


def text_of(shown: Frame) -> str:
    return "\n".join(plain(line) for line in shown.lines)


def with_states(snapshot: dict[str, Any], **states: str) -> dict[str, Any]:
    for entry in snapshot["substations"]:
        entry["state"] = states.get(entry["name"], entry["state"])
    return snapshot


@given(strange, sizes, st.integers(-3, 50), st.text(max_size=30))
def test_never_wider_nor_higher_than_the_terminal(
    snapshot: dict[str, Any], size: tuple[int, int], page: int, footer: str
) -> None:
    width, height = size
    shown = frame(snapshot, width, height, page=page, footer=footer)
    assert len(shown.lines) <= height
    assert all(sum(len(text) for text, _ in line) <= width for line in shown.lines)
    assert all("\n" not in text and "\x1b" not in text for line in shown.lines for text, _ in line)
    assert all(cell_len(text) == len(text) for line in shown.lines for text, _ in line)
    assert all(tone in STYLES for line in shown.lines for _, tone in line)


@given(strange, sizes)
def test_every_substation_is_on_exactly_one_page(snapshot: dict[str, Any], size: tuple[int, int]) -> None:
    names = sorted(str(s["name"]) for s in snapshot.get("substations") or [])
    first = frame(snapshot, *size)
    if size[1] >= 5:
        pages = [frame(snapshot, *size, page=page) for page in range(first.pages)]
        assert sorted(name for page in pages for name in page.shown) == names
    assert first.total == len(names)


@given(strange, st.integers(1, 220))
def test_a_whole_frame_has_a_row_for_everyone(snapshot: dict[str, Any], width: int) -> None:
    shown = whole_frame(snapshot, width)
    assert list(shown.shown) == [str(s["name"]) for s in snapshot.get("substations") or []]
    assert all(sum(len(text) for text, _ in line) <= width for line in shown.lines)


@given(strange, sizes, st.text(max_size=30))
def test_ascii_is_ascii(snapshot: dict[str, Any], size: tuple[int, int], footer: str) -> None:
    assert text_of(frame(snapshot, *size, glyphs=ASCII, footer=footer)).isascii()


def test_three_substations_have_a_row_each_with_all_figures() -> None:
    snapshot = lively(3)
    snapshot["substations"][1].update(
        sessions=5, load_kw=37.0, load_pct=50.0, arrivals_per_s=0.25, cpu_pct=3.0, rss_bytes=12 << 20, restarts=4
    )
    lines = text_of(frame(snapshot, 80, 24)).splitlines()
    row = next(line for line in lines if line.startswith("substation2"))
    for figure in ("● READY", "5/10", "37/74", "0.25", "3%", "12M", "4", "━━━━━─────"):
        assert figure in row
    assert any(level in row for level in "▂▃▄▅▆▇")
    heading = lines[lines.index(row) - 2]
    assert all(word in heading for word in ("substation", "state", "load", "kW", "EV/s", "last 3 min", "CPU", "mem"))


def test_the_header_says_how_the_grid_is() -> None:
    snapshot = lively(3)
    snapshot["grid"].update(load_pct=43.2, health="strained", sessions=13, requests_per_s=12.34)
    head = "\n".join(text_of(frame(snapshot, 80, 24)).splitlines()[:5])
    for words in ("grid", "● READY", "up 3m 12s", "time \u00d710", "43%", "strained", "13/30 sessions", "222 kW"):
        assert words in head
    for words in ("12.3 requests/s", "3 rejected", "0 failed", "charge-request", "balancer", "40M"):
        assert words in head


def test_a_real_time_scale_of_one_is_not_mentioned() -> None:
    snapshot = lively(3)
    snapshot["cluster"]["time_scale"] = 1
    assert "time" not in text_of(frame(snapshot, 80, 24)).splitlines()[0]


def test_a_hundred_substations_are_all_readable_in_80_by_24() -> None:
    shown = frame(with_states(lively(100), substation18="FATAL", substation24="PAUSED"), 80, 24, footer="q quits")
    text = text_of(shown)
    assert (shown.pages, len(shown.shown)) == (1, 100)
    lines = text.splitlines()
    assert len(lines) == 24
    for index, number in enumerate((1, 21, 41, 61, 81)):
        assert lines[3][index * 16 :].split()[0] == str(number)
    assert "100" in lines[22]
    assert "18 ✗" in text.replace("18  ✗", "18 ✗")
    assert "24 ‖" in text.replace("24  ‖", "24 ‖")
    assert "\n".join(lines[3:23]).count("/10") == 100
    assert "1 = substation1" in lines[23]
    assert "q quits" in lines[23]


def test_in_a_high_terminal_a_hundred_have_a_row_each() -> None:
    shown = frame(lively(100), 200, 110)
    rows = [line for line in text_of(shown).splitlines() if line.startswith("substation") and "●" in line]
    assert len(rows) == 100


def test_a_thousand_show_the_most_notable_first_and_count_the_rest() -> None:
    snapshot = with_states(lively(1000), substation700="FATAL", substation900="BACKOFF")
    shown = frame(snapshot, 80, 24)
    assert shown.shown[:2] == ("substation700", "substation900")
    assert f"{1000 - len(shown.shown)} of 1000 not shown" in text_of(shown).splitlines()[-1]
    later = frame(snapshot, 80, 24, page=1)
    assert not set(later.shown) & set(shown.shown)


def test_what_is_down_shows_its_state_in_place_of_figures() -> None:
    snapshot = with_states(lively(100), substation7="BACKOFF")
    snapshot["substations"][6].update(sessions=None, load_pct=None)
    line = next(line for line in text_of(frame(snapshot, 80, 24)).splitlines() if line.startswith("7 "))
    assert "BACKOFF" in line[:14]


def test_below_the_rows_stands_why_processes_are_in_trouble() -> None:
    snapshot = lively(3)
    unable = {"name": "substation2", "state": "UNHEALTHY", "reason": "health 503: no room to write\nfree some space …"}
    snapshot["processes"] += [unable, {"name": "substation1", "state": "READY", "reason": "earlier"}]
    told = "substation2 UNHEALTHY: health 503: no room to write free some space"
    for found in (frame(snapshot, 120, 24), whole_frame(snapshot, 120, glyphs=ASCII)):
        lines = [plain(line).rstrip() for line in found.lines]
        assert len([line for line in lines if line.startswith(told)]) == 1
        assert not [line for line in lines if "earlier" in line]
    assert not [line for line in frame(snapshot, 120, 6).lines if plain(line).startswith(told)]


def test_an_overloaded_substation_is_seen_without_colour() -> None:
    snapshot = lively(3)
    snapshot["substations"][0].update(load_pct=130.0, sessions=13)
    assert "━! 13/10" in text_of(frame(snapshot, 80, 24))


@pytest.mark.parametrize(("width", "height"), [(60, 24), (40, 24), (60, 10), (40, 10), (20, 5)])
def test_small_terminals_keep_what_matters(width: int, height: int) -> None:
    text = text_of(frame(lively(3), width, height))
    assert "grid" in text
    assert text.count("/10") >= (3 if height >= 10 else 1)


def test_long_names_keep_the_end_in_which_they_differ() -> None:
    snapshot = lively(3)
    for number, entry in enumerate(snapshot["substations"]):
        entry["name"] = "northern-district-charging-substation-at-the-harbour-00" + str(number)
    text = text_of(frame(snapshot, 60, 24))
    assert all(f"00{number} " in text for number in range(3))


def test_no_substations_say_so() -> None:
    assert "no substations" in text_of(frame(lively(0), 80, 24))
    assert "no substations" in text_of(whole_frame(lively(0), 80))


def test_a_billion_sessions_fit() -> None:
    snapshot = lively(3)
    for entry in snapshot["substations"]:
        entry.update(sessions=10**9 - 1, max_sessions=10**9)
    assert text_of(frame(snapshot, 60, 24)).count("1.0G/1.0G") == 3
