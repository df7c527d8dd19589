"""What the terminal can show, and tables that fit it."""

from __future__ import annotations

import io
import re

from hypothesis import given
from hypothesis import strategies as st

from gridctl.console import Cell, Column, plain_table, print_table, uses_ansi, width_of
from tests.gridctl.terminal import terminal

COLUMNS = (Column("NAME"), Column("MIDDLE", drop=1), Column("LAST", "right", drop=2))
ROWS = [[Cell("a", "bold"), Cell("bbbbbbbbbb"), Cell("c")], [Cell("aaaa"), Cell("b", "red"), Cell("cccccc")]]
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def test_only_a_willing_terminal_gets_ansi() -> None:
    assert not uses_ansi(io.StringIO(), {})
    with terminal(80) as screen:
        assert uses_ansi(screen.stream, {})
        assert uses_ansi(screen.stream, {"NO_COLOR": ""})
        assert not uses_ansi(screen.stream, {"NO_COLOR": "1"})
        assert not uses_ansi(screen.stream, {"TERM": "dumb"})
    assert not uses_ansi(screen.stream, {})


def test_width_is_the_terminals_and_none_in_a_pipe() -> None:
    assert width_of(io.StringIO(), {"COLUMNS": "40"}) is None
    with terminal(60) as screen:
        assert width_of(screen.stream, {}) == 60
        assert width_of(screen.stream, {"COLUMNS": "40"}) == 40
        assert width_of(screen.stream, {"COLUMNS": "wide"}) == 60


def test_into_a_pipe_all_columns_are_plain() -> None:
    out = io.StringIO()
    print_table(COLUMNS, ROWS, out, {})
    assert out.getvalue() == "NAME  MIDDLE        LAST\na     bbbbbbbbbb       c\naaaa  b           cccccc\n"


def test_a_terminal_gets_styles_and_drops_what_does_not_fit() -> None:
    with terminal(60) as screen:
        print_table(COLUMNS, ROWS, screen.stream, {})
        shown = screen.shown()
    assert "\x1b[" in shown
    assert ANSI.sub("", shown).splitlines()[0].split() == ["NAME", "MIDDLE", "LAST"]
    with terminal(18) as screen:
        print_table(COLUMNS, ROWS, screen.stream, {})
        assert ANSI.sub("", screen.shown()).splitlines()[0].split() == ["NAME", "MIDDLE"]


def test_no_color_on_a_terminal_is_plain_and_as_narrow() -> None:
    with terminal(5) as screen:
        print_table(COLUMNS, [[Cell("abcdefgh"), Cell("b"), Cell("c")]], screen.stream, {"NO_COLOR": "1"})
        assert screen.shown() == "NAME\nabcde\n"


@given(st.lists(st.tuples(*[st.text("abc ", max_size=8)] * 3), max_size=6))
def test_plain_columns_begin_at_the_same_place(texts: list[tuple[str, str, str]]) -> None:
    lines = plain_table(COLUMNS, [[Cell(text) for text in row] for row in texts])
    assert len(lines) == len(texts) + 1
    middle = lines[0].index("MIDDLE")
    for line, row in zip(lines[1:], texts, strict=True):
        assert line.ljust(middle)[middle:].startswith(row[1].rstrip() if row[2].strip() == "" else row[1])
