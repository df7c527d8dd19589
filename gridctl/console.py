"""What the terminal can show, and tables that fit it. Must not know what stands in the tables.

rich is imported only to draw on a real terminal: output into a pipe, and `--json`, never pay for it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

#: Between two columns of a plain table.
_GAP = "  "


def uses_ansi(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether colours and cursor movement may go to `stream`: a terminal that can, and no `NO_COLOR`."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def width_of(stream: TextIO, environ: Mapping[str, str] = os.environ) -> int | None:
    """The columns of the terminal behind `stream` (`$COLUMNS` first); None when it is none, so nothing need be cut."""
    try:
        if not stream.isatty():
            return None
        given = environ.get("COLUMNS", "")
        return int(given) if given.isdigit() and int(given) else os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        import shutil  # noqa: PLC0415 - where the terminal would not say

        return shutil.get_terminal_size().columns


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, on which side it is aligned, and when it goes.

    Where the terminal is too narrow the columns with the highest `drop` leave first; 0 stays.
    """

    title: str
    align: Literal["left", "right"] = "left"
    drop: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """A text and the rich style in which a terminal shows it."""

    text: str
    style: str = ""


Row = Sequence[Cell]


def print_table(
    columns: Sequence[Column], rows: Sequence[Row], stream: TextIO, environ: Mapping[str, str] = os.environ
) -> None:
    """Print aligned rows under their headings: plain into a pipe, styled and never too wide on a terminal."""
    width = width_of(stream, environ)
    kept = _fitting(columns, rows, width)
    shown = [columns[index] for index in kept]
    cells = [[row[index] for index in kept] for row in rows]
    if uses_ansi(stream, environ):
        _print_rich(shown, cells, stream, width or 80)
        return
    for line in plain_table(shown, cells):
        stream.write((line if width is None else line[:width]) + "\n")


def plain_table(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """The table as lines without a trailing blank, headings first."""
    widths = _widths(columns, rows)
    heading = [Cell(column.title) for column in columns]
    return [
        _GAP.join(
            _padded(cell.text, width, column.align) for cell, width, column in zip(row, widths, columns, strict=True)
        ).rstrip()
        for row in [heading, *rows]
    ]


def _padded(text: str, width: int, align: str) -> str:
    return text.rjust(width) if align == "right" else text.ljust(width)


def _widths(columns: Sequence[Column], rows: Sequence[Row]) -> list[int]:
    return [max([len(column.title), *(len(row[index].text) for row in rows)]) for index, column in enumerate(columns)]


def _fitting(columns: Sequence[Column], rows: Sequence[Row], width: int | None) -> list[int]:
    """The indexes of the columns that fit in `width`, in order."""
    kept = list(range(len(columns)))
    if width is None:
        return kept
    widths = _widths(columns, rows)
    for leaving in sorted((i for i in kept if columns[i].drop), key=lambda i: -columns[i].drop):
        if sum(widths[i] for i in kept) + len(_GAP) * (len(kept) - 1) <= width:
            break
        kept.remove(leaving)
    return kept


def _print_rich(columns: Sequence[Column], rows: Sequence[Row], stream: TextIO, width: int) -> None:
    from rich.console import Console  # noqa: PLC0415 - see the module's docstring
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column.title, justify=column.align, no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(cell.text, style=cell.style) for cell in row))
    Console(file=stream, width=width, force_terminal=True, highlight=False).print(table)
