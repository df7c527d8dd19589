"""One frame of the live table: snapshot and size in, lines out; must not know a terminal, a colour or the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gridctl.processes import troubles
from gridctl.top import tones
from gridctl.top.bars import UNICODE, Glyphs
from gridctl.top.columns import Substation
from gridctl.top.grid import Grid, grid_for, nobody, page_of
from gridctl.top.header import header
from gridctl.top.rows import sheet_for
from gridctl.top.spans import Line, clip, flow, narrow

FULL_HEADER = 6


@dataclass(frozen=True, slots=True)
class Frame:
    """What is on the screen: its lines, and of `total` substations those `shown` on page `page` (from 0) of `pages`."""

    lines: tuple[Line, ...]
    page: int
    pages: int
    shown: tuple[str, ...]
    total: int


def frame(
    snapshot: Mapping[str, Any],
    width: int,
    height: int,
    *,
    glyphs: Glyphs = UNICODE,
    page: int = 0,
    footer: str = "",
) -> Frame:
    """The snapshot (the control API's `GET /snapshot`) in at most `height` lines of at most `width` cells.

    `page` counts from 0 and is clamped; `footer` is the caller's own word in the last line.
    """
    width, height = max(1, width), max(1, height)
    substations = substations_of(snapshot)
    foot = 1 if height >= 5 else 0
    above = _roomy(snapshot, len(substations), width, height - foot, glyphs)
    if above is None:
        above = header(snapshot, width, _dense_header(height), glyphs)
    grid = grid_for(substations, width, height - foot - len(above), glyphs)
    visible, page, pages = page_of(substations, grid.room, page)
    lines = [*above, *(grid.lines(visible) if substations else [nobody(width)])]
    lines = [*lines, *_reasons(snapshot, width, height - foot - len(lines), glyphs)][: height - foot]
    if foot:
        last = _last_line(grid, len(substations), (page, pages), footer, width)
        lines += [()] * (height - 1 - len(lines)) + [last]
    return Frame(tuple(lines), page, pages, tuple(str(s.get("name")) for s in visible), len(substations))


def whole_frame(snapshot: Mapping[str, Any], width: int, *, glyphs: Glyphs = UNICODE) -> Frame:
    """The snapshot in lines of at most `width` cells, one row for every substation however many there are."""
    width = max(1, width)
    substations = substations_of(snapshot)
    sheet = sheet_for(substations, width, glyphs)
    rows = [sheet.headings(), *(sheet.row(s) for s in substations)] if substations else [nobody(width)]
    reasons = _reasons(snapshot, width, len(_processes(snapshot)) + 1, glyphs)
    lines = (*header(snapshot, width, FULL_HEADER, glyphs), (), *rows, *reasons)
    return Frame(lines, 0, 1, tuple(str(s.get("name")) for s in substations), len(substations))


def substations_of(snapshot: Mapping[str, Any]) -> list[Substation]:
    """The snapshot's substations; none where it has none."""
    listed = snapshot.get("substations")
    return [s for s in listed if isinstance(s, Mapping)] if isinstance(listed, list) else []


def _reasons(snapshot: Mapping[str, Any], width: int, room: int, glyphs: Glyphs) -> list[Line]:
    """Below a blank line, why processes are in trouble, one line each, as far as there is room."""
    texts = [narrow(" ".join(text.split()), glyphs.ascii_only) for text in troubles(_processes(snapshot))]
    told: list[Line] = [clip(((text, tones.BAD),), width) for text in texts]
    return [(), *told[: room - 1]] if told and room >= 2 else []


def _processes(snapshot: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = snapshot.get("processes")
    found = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    return [each for each in found if "name" in each and "state" in each]


def _roomy(snapshot: Mapping[str, Any], total: int, width: int, height: int, glyphs: Glyphs) -> list[Line] | None:
    """The full header, then a blank line if that fits too, if every substation still has a row of its own below it."""
    room = height - total - 1
    if room < 4:
        return None
    lines = header(snapshot, width, min(FULL_HEADER, room), glyphs)
    return [*lines, ()] if len(lines) < room else lines


def _dense_header(height: int) -> int:
    """How many header lines a terminal can spare that is too low for a row each."""
    return 3 if height >= 10 else 2 if height >= 6 else 1


def _last_line(grid: Grid, total: int, paging: tuple[int, int], footer: str, width: int) -> Line:
    """What is not shown, the caller's word, what the short names mean: as much of it as fits, in this order."""
    page, pages = paging
    items: list[Line] = []
    if pages > 1:
        shown = min(total, (page + 1) * grid.room) - page * grid.room
        items.append(((f"{total - shown} of {total} not shown", tones.BUSY),))
        items.append(((f"page {page + 1}/{pages} (PgUp PgDn)", tones.FAINT),))
    if footer:
        items.append(((narrow(footer, grid.sheet.glyphs.ascii_only), tones.FAINT),))
    if grid.prefix:
        items.append(((f"1 = {grid.prefix}1", tones.FAINT),))
    if pages > 1:
        items.append((("most notable first", tones.FAINT),))
    lines = flow(items, width, gap=3)
    return lines[0] if lines else ()
