"""The substations' part of a frame: one row each, or several cells to a line, or a page; must not know what is above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gridctl.top import tones
from gridctl.top.bars import Glyphs
from gridctl.top.columns import Substation, load_pct, name_of, state_of
from gridctl.top.rows import Sheet, least_cells, longest_name, sheet_for
from gridctl.top.spans import Line, clip, common_prefix, join

#: Blanks between two cells on one line.
CELL_GAP = 2


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the substations go: `across` cells on each of `rows` lines, below headings if `headed`."""

    sheet: Sheet
    across: int
    rows: int
    headed: bool
    prefix: str

    @property
    def room(self) -> int:
        """How many substations fit."""
        return self.across * self.rows

    def lines(self, visible: Sequence[Substation]) -> list[Line]:
        """The lines that show these substations, at most `room` of them, down each column of cells and then across."""
        cells = [self.sheet.row(substation) for substation in visible[: self.room]]
        depth = -(-len(cells) // self.across)
        lines = [join(cells[start::depth], CELL_GAP) for start in range(depth)]
        if self.headed:
            lines.insert(0, join([self.sheet.headings()] * self.across, CELL_GAP))
        return lines


def grid_for(substations: Sequence[Substation], width: int, height: int, glyphs: Glyphs) -> Grid:
    """The grid of `width` cells and `height` lines with as few cells a line as show all substations, or as many as fit."""
    if height >= 2:
        headed = _grid(substations, (width, height - 1), glyphs, detailed=True)
        if headed.sheet.detailed:
            return headed
    return _grid(substations, (width, height), glyphs, detailed=False)


def page_of(substations: Sequence[Substation], room: int, page: int) -> tuple[list[Substation], int, int]:
    """The substations on a page, that page's number (from 0, clamped) and how many pages there are.

    All in their own order where they fit on one; else the most notable first: not READY, then the fullest.
    """
    if len(substations) <= room:
        return list(substations), 0, 1
    pages = -(-len(substations) // max(1, room))
    page = max(0, min(page, pages - 1))
    ranked = sorted(substations, key=_notability)
    return ranked[page * room : (page + 1) * room], page, pages


def _notability(substation: Substation) -> tuple[int, int]:
    """Not READY first, then by load in steps of 10 %: finer ones would make the cells change places all the time."""
    return tones.notability(state_of(substation)), -int(max(0, min(load_pct(substation) or 0, 1000)) // 10)


def _grid(substations: Sequence[Substation], size: tuple[int, int], glyphs: Glyphs, *, detailed: bool) -> Grid:
    width, height = size
    rows = max(0, height)
    prefix = common_prefix([name_of(s) for s in substations])
    most = max(1, (width + CELL_GAP) // (least_cells(substations, prefix) + CELL_GAP))
    across = max(1, min(most, -(-len(substations) // max(1, rows))))
    cell = (width - CELL_GAP * (across - 1)) // across
    if across == 1 or (least_cells(substations) <= cell and longest_name(substations) <= cell // 3):
        prefix = ""
    sheet = sheet_for(substations, cell, glyphs, prefix=prefix, detailed=detailed)
    return Grid(sheet, across, rows, detailed, prefix)


def nobody(width: int) -> Line:
    """What stands where there are no substations."""
    return clip((("no substations", tones.FAINT),), width)
