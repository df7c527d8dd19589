"""How lines look."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridctl.logs.display import Display
from gridctl.logs.lines import Line, Stamper
from tests.gridctl.logs.written import ZERO_S, record


def line(text: str) -> Line:
    return next(Stamper("substation1", ZERO_S).stamp(text.encode()))


def test_a_record_for_people() -> None:
    text = record(1.5, message="refused", level="warning", ev_id="EV 7", reason="substation-full", attempt=2)
    shown = Display(["balancer", "substation1"]).text(line(text))
    assert shown == (
        'substation1 | 2026-01-01T00:00:01.500Z warning refused ev_id="EV 7" reason=substation-full attempt=2\n'
    )
    assert Display([], prefix=False).text(line(text)).startswith("2026-01-01T00:00:01.500Z warning refused")


def test_a_raw_line_and_a_traceback_keep_the_prefix() -> None:
    display = Display(["substation1"])
    assert display.text(line("  boom")) == "substation1 |   boom\n"
    shown = display.text(line(record(1, traceback="Traceback:\n  boom\n"))).splitlines()
    assert [part.partition(" | ")[2] for part in shown[1:]] == ["Traceback:", "  boom"]
    assert all(part.startswith("substation1 | ") for part in shown)


def test_colours_tell_processes_and_levels_apart() -> None:
    display = Display(["balancer", "substation1"], ansi=True)
    first = display.text(Line(0, "balancer", "x", None))
    second = display.text(line(record(1, level="error")))
    third = display.text(Line(0, "newcomer", "x", None))
    assert len({text[: text.index("m")] for text in (first, second, third)}) == 3
    assert "\x1b[31merror  \x1b[0m" in second
    assert display.text(Line(0, "balancer", "x", None)) == first


def test_json_is_one_object_a_line() -> None:
    display = Display(["substation1"], as_json=True, ansi=True)
    text = record(1, message="näme")
    assert display.text(line(text)) == text + "\n"
    assert json.loads(display.text(line("  boom"))) == {
        "ts": "2026-01-01T00:00:00.000000Z",
        "level": None,
        "name": "substation1",
        "message": "  boom",
    }


def test_a_timestamp_of_another_shape_is_left_alone() -> None:
    shown = Display([], prefix=False).text(line('{"ts": "2026-01-01T00:00:00+00:00"}'))
    assert shown.startswith("2026-01-01T00:00:00+00:00 ")


@given(st.text(), st.booleans())
def test_what_others_sent_never_controls_the_terminal(text: str, raw: bool) -> None:
    shown = Display(["a"]).text(Line(0, "a", text, None) if raw else line(record(1, message=text, ev_id=text)))
    assert not [mark for mark in shown if (ord(mark) < 32 or 127 <= ord(mark) < 160) and mark not in "\t\n"]


@pytest.mark.parametrize("value", [None, 1.5, ["a"], {"b": 1}, "", "a=b"])
def test_extra_fields_of_any_kind(value: object) -> None:
    assert f"extra={json.dumps(value)}" in Display([]).text(line(record(1, extra=value)))
