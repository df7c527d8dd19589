"""Which columns of a substation fit a width, and its row of them; must not know where on the screen the row goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gridctl.top import columns as shapes
from gridctl.top import tones
from gridctl.top.bars import Glyphs, sparkline_cells
from gridctl.top.columns import Column, Substation, count_cells, name_of
from gridctl.top.figures import number
from gridctl.top.spans import Line, Span, clip, pad

SMALL_BAR = 3
WIDE_BAR = 8
LONGEST_BAR = 24
SHORTEST_SPARKLINE = 8
#: Names take at most this many cells before other columns have theirs.
MODEST_NAME = 12


@dataclass(frozen=True, slots=True)
class Sheet:
    """How every row looks: its columns, `gap` blanks between them, `width` cells in all."""

    columns: tuple[Column, ...]
    gap: int
    width: int
    glyphs: Glyphs

    def row(self, substation: Substation) -> Line:
        """The substation's row, exactly `width` cells."""
        spans: list[Span] = []
        for column in self.columns:
            if spans:
                spans.append((" " * self.gap, tones.PLAIN))
            spans.extend(column.draw(substation, column.width, self.glyphs))
        return pad(tuple(spans), self.width)

    def headings(self) -> Line:
        """The line above the rows."""
        texts = (c.heading.rjust(c.width) if c.right else c.heading.ljust(c.width) for c in self.columns)
        cut = (text[: c.width] for text, c in zip(texts, self.columns, strict=True))
        return pad(clip((((" " * self.gap).join(cut), tones.FAINT),), self.width), self.width)

    @property
    def detailed(self) -> bool:
        """Whether there is more than name, mark, bar and sessions, so that headings are needed."""
        return len(self.columns) > 2


def sheet_for(
    substations: Sequence[Substation], width: int, glyphs: Glyphs, *, prefix: str = "", detailed: bool = True
) -> Sheet:
    """The sheet of `width` cells for these substations; `prefix` is left away from every name.

    Name, mark and load are always there (where even they are too wide, the right end is cut). Unless `detailed` is False
    further columns come, the most telling first, each if it fits. What room is left goes to names, sparkline and bar.
    """
    use_cells = _use_cells(substations)
    longest = longest_name(substations, prefix)
    room = width - 1 - 1 - SMALL_BAR - 1 - use_cells
    names = max(1, min(longest, room, max(MODEST_NAME, width // 6)))
    columns = [
        shapes.name_column(names, prefix, marked=True),
        shapes.load_column(SMALL_BAR, use_cells, says_state=True),
    ]
    for extra in _extras(substations, use_cells) if detailed else ():
        grown = _with(columns, extra, shapes.name_column(names, prefix))
        if _cells(grown, 1) <= width:
            columns = grown
        elif extra.key == "state":
            break  # without the state's word it is a small cell, and figures in it would want headings
    columns = _stretched(columns, width, longest, use_cells)
    gap = 2 if len(columns) > 2 and _cells(columns, 2) <= width else 1
    return Sheet(tuple(columns), gap, width, glyphs)


def least_cells(substations: Sequence[Substation], prefix: str = "") -> int:
    """The narrowest sheet that is still readable: name of up to 12 cells, mark, small bar, sessions."""
    return min(MODEST_NAME, longest_name(substations, prefix)) + 1 + 1 + SMALL_BAR + 1 + _use_cells(substations)


def longest_name(substations: Iterable[Substation], prefix: str = "") -> int:
    """The cells of the longest name without `prefix`."""
    return max((len(name_of(s, prefix)) for s in substations), default=1)


def _use_cells(substations: Sequence[Substation]) -> int:
    limit = [number(s, "max_sessions") for s in substations]
    used = [number(s, "sessions") for s in substations]
    return count_cells([*limit, *used]) + 1 + count_cells(limit)


def _cells(columns: Sequence[Column], gap: int) -> int:
    return sum(column.width for column in columns) + gap * (len(columns) - 1)


def _extras(substations: Sequence[Substation], use_cells: int) -> list[Column]:
    """What is added while it fits, the most telling first."""
    figures = shapes.figure_columns(substations)
    power = [shapes.power_column(substations)] if any(number(s, "load_kw") is not None for s in substations) else []
    return [
        shapes.state_column(),
        shapes.load_column(WIDE_BAR, use_cells),
        *power,
        figures["rate"],
        shapes.history_column(SHORTEST_SPARKLINE),
        figures["cpu"],
        figures["memory"],
        figures["restarts"],
        figures["pct"],
    ]


def _with(columns: Sequence[Column], extra: Column, name: Column) -> list[Column]:
    """The columns with `extra` in its place: the state beside the name (then `name`, without mark), others at the end."""
    if extra.key == "state":
        return [name, extra, *columns[1:]]
    if extra.key == "load":
        return [extra if column.key == "load" else column for column in columns]
    if extra.key == "pct":
        place = next(i for i, column in enumerate(columns) if column.key == "load")
        return [*columns[:place], extra, *columns[place:]]
    return [*columns, extra]


def _stretched(columns: Sequence[Column], width: int, longest: int, use_cells: int) -> list[Column]:
    """What is left of `width` given to cut names, then to wider gaps, two thirds to the sparkline, the rest to the bar."""
    found = {column.key: column for column in columns}
    left = width - _cells(columns, 1)
    more = max(0, min(left, longest - found["name"].width))
    found["name"] = replace(found["name"], width=found["name"].width + more)
    left -= more
    if left >= 2 * len(columns):
        left -= len(columns) - 1
    if "history" in found:
        cells = sparkline_cells(SHORTEST_SPARKLINE + max(0, left * 2 // 3))
        found["history"] = replace(found["history"], width=cells)
        left -= max(0, cells - SHORTEST_SPARKLINE)
    bar_cells = min(LONGEST_BAR, found["load"].width - use_cells - 1 + max(0, left))
    found["load"] = shapes.load_column(bar_cells, use_cells, says_state="state" not in found)
    return list(found.values())
