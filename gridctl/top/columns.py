"""The columns a substation can have, each drawing itself in a given width; must not know which of them are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gridctl.top import figures, tones
from gridctl.top.bars import HISTORY_SAMPLES, Glyphs, bar, sparkline
from gridctl.top.figures import number
from gridctl.top.spans import Line, narrow, shorten

#: One entry of the snapshot's `substations`.
Substation: TypeAlias = Mapping[str, Any]

STATE_CELLS = 11


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `draw(substation, width, glyphs)` gives exactly `width` cells. `heading` stands above it."""

    key: str
    heading: str
    width: int
    draw: Callable[[Substation, int, Glyphs], Line]
    right: bool = True


def load_pct(substation: Substation) -> float | None:
    """The load in per cent (0…100 and more); from the sessions where the snapshot gives none."""
    given = number(substation, "load_pct")
    if given is not None:
        return given
    sessions, limit = number(substation, "sessions"), number(substation, "max_sessions")
    return None if sessions is None or not limit else figures.finite(100 * sessions / limit)


def state_of(source: Mapping[str, Any]) -> str:
    """The state that a process, a substation or the cluster is in; `?` where none is named."""
    return narrow(str(source.get("state") or "?"))


def mark_of(state: str, glyphs: Glyphs) -> str:
    """The state's mark, one cell; `?` for a state that is not known."""
    return glyphs.marks.get(state, "?")


def name_of(substation: Substation, prefix: str = "") -> str:
    """The substation's name, one cell a character, without `prefix`."""
    return narrow(str(substation.get("name") or "?")).removeprefix(prefix) or "?"


def count_cells(values: Iterable[float | None]) -> int:
    """The cells that counts up to the largest of the values take."""
    largest = max((value for value in values if value is not None), default=0)
    return len(figures.count(largest)) if largest < 9999.5 else 5


def name_column(width: int, prefix: str = "", *, marked: bool = False) -> Column:
    """The name without `prefix`, in its state's colour when not READY; `marked` adds the state's mark in one cell more.

    READY has a blank for a mark, so that what differs is seen.
    """

    def draw(substation: Substation, width: int, glyphs: Glyphs) -> Line:
        state = state_of(substation)
        tone = tones.PLAIN if state == "READY" else tones.of_state(state)
        mark = "" if not marked else " " if state == "READY" else mark_of(state, glyphs)
        cells = width - len(mark)
        return ((shorten(name_of(substation, prefix), cells, glyphs.ellipsis).ljust(cells) + mark, tone),)

    return Column("name", "substation", width + marked, draw, right=False)


def state_column() -> Column:
    """Mark and word of the state."""

    def draw(substation: Substation, width: int, glyphs: Glyphs) -> Line:
        state = state_of(substation)
        return ((f"{mark_of(state, glyphs)} {state}"[:width].ljust(width), tones.of_state(state)),)

    return Column("state", "state", STATE_CELLS, draw, right=False)


def load_column(bar_cells: int, use_cells: int, *, says_state: bool = False) -> Column:
    """The load bar, then sessions/capacity in `use_cells`. With `says_state` the state's word where sessions are unknown."""

    def draw(substation: Substation, width: int, glyphs: Glyphs) -> Line:
        sessions = number(substation, "sessions")
        state = state_of(substation)
        if says_state and sessions is None and state != "READY":
            return ((f"{state:<{width}}"[:width], tones.of_state(state)),)
        pct = load_pct(substation)
        filled, track = bar(pct, bar_cells, glyphs)
        use = figures.share(sessions, number(substation, "max_sessions"), figures.count)
        tone = tones.PLAIN if sessions else tones.FAINT
        return ((filled, tones.of_load(pct)), (track + " ", tones.FAINT), (use[:use_cells].rjust(use_cells), tone))

    return Column("load", "load", bar_cells + 1 + use_cells, draw, right=False)


def power_column(substations: Sequence[Substation]) -> Column:
    """kW drawn, and kW capacity where there is any."""
    limits = [kw for s in substations if (kw := number(s, "capacity_kw")) is not None]
    limit_cells = max((len(figures.power(kw)) for kw in limits), default=-1)
    use_cells = max((len(figures.power(number(s, "load_kw"))) for s in substations), default=1)
    width = max(use_cells, limit_cells, 4) + 1 + limit_cells

    def text(substation: Substation) -> str:
        return figures.share(number(substation, "load_kw"), number(substation, "capacity_kw"), figures.power)

    return _figure("power", "kW", width, text, lambda s: number(s, "load_kw"))


def figure_columns(substations: Sequence[Substation]) -> dict[str, Column]:
    """The columns of one number each: `rate`, `cpu`, `memory`, `restarts`, `pct`."""
    restarts = max(3, count_cells(number(s, "restarts") for s in substations))
    return {
        "rate": _numbers("arrivals_per_s", "EV/s", 5, figures.rate),
        "cpu": _numbers("cpu_pct", "CPU", 4, figures.percent, tones.FAINT),
        "memory": _numbers("rss_bytes", "mem", 5, figures.memory, tones.FAINT),
        "restarts": _numbers("restarts", "rst", restarts, figures.count, tones.BUSY),
        "pct": _figure("pct", "%", 4, lambda s: figures.percent(load_pct(s)), load_pct),
    }


def history_column(width: int) -> Column:
    """The sparkline of the last minutes."""

    def draw(substation: Substation, width: int, glyphs: Glyphs) -> Line:
        history = substation.get("history")
        samples = history if isinstance(history, list) else []
        return ((sparkline(samples, width, glyphs), tones.TRACE),)

    return Column("history", f"last {HISTORY_SAMPLES * 2 // 60} min", width, draw, right=False)


def _numbers(
    key: str, heading: str, width: int, write: Callable[[float | None], str], tone: str = tones.PLAIN
) -> Column:
    return _figure(key, heading, width, lambda s: write(number(s, key)), lambda s: number(s, key), tone)


def _figure(
    key: str,
    heading: str,
    width: int,
    text: Callable[[Substation], str],
    value: Callable[[Substation], float | None],
    tone: str = tones.PLAIN,
) -> Column:
    def draw(substation: Substation, width: int, _glyphs: Glyphs) -> Line:
        return ((text(substation)[:width].rjust(width), tones.of_count(value(substation), tone)),)

    return Column(key, heading, width, draw)
