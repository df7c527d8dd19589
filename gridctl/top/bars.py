"""Bars and sparklines from single characters, in Unicode or plain ASCII; must not know what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gridctl.top.figures import finite

#: A snapshot's history holds at most this many samples (three minutes, one each two seconds).
HISTORY_SAMPLES = 90


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters that figures are drawn with; each takes one cell."""

    full: str
    half: str
    track: str
    levels: str
    restarts: str
    ellipsis: str
    times: str
    marks: Mapping[str, str]

    @property
    def ascii_only(self) -> bool:
        """Whether the output can write nothing but ASCII."""
        return self.full.isascii()


UNICODE = Glyphs(
    full="━",
    half="╾",
    track="─",
    levels="▁▂▃▄▅▆▇█",
    restarts="↻",
    ellipsis="…",
    times="×",  # noqa: RUF001 - it is the multiplication sign
    marks={
        "READY": "●",
        "STARTING": "◌",
        "UNHEALTHY": "▲",
        "PAUSED": "‖",
        "DRAINING": "▽",
        "BACKOFF": "↻",
        "STOPPING": "◔",
        "STOPPED": "○",
        "FATAL": "✗",
    },
)

ASCII = Glyphs(
    full="#",
    half="=",
    track="-",
    levels="_.:-=+*#",
    restarts="R",
    ellipsis="~",
    times="x",
    marks={
        "READY": "*",
        "STARTING": "+",
        "UNHEALTHY": "!",
        "PAUSED": "|",
        "DRAINING": "v",
        "BACKOFF": "~",
        "STOPPING": "-",
        "STOPPED": "o",
        "FATAL": "X",
    },
)


def glyphs_for(encoding: str | None) -> Glyphs:
    """Unicode where the output's encoding can write it, else ASCII."""
    try:
        (UNICODE.full + UNICODE.levels + "".join(UNICODE.marks.values())).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def bar(pct: float | None, width: int, glyphs: Glyphs) -> tuple[str, str]:
    """A bar of `width` cells as (filled, track). Any load shows at least half a cell; above 100 % it ends in `!`."""
    if pct is None or width <= 0:
        return "", glyphs.track * max(0, width)
    if pct > 100.5:
        return glyphs.full * (width - 1) + "!", ""
    halves = min(2 * width, max(round(max(0.0, pct) * width / 50), 1 if pct > 0 else 0))
    filled = glyphs.full * (halves // 2) + glyphs.half * (halves % 2)
    return filled, glyphs.track * (width - len(filled))


def sparkline(history: Sequence[object], width: int, glyphs: Glyphs) -> str:
    """The history (per cent, oldest first) in `width` cells, the newest at the right end, blank where nothing is known.

    Where the whole window does not fit, each cell is the mean of equally many samples, so its time span stays.
    """
    if width <= 0:
        return ""
    step = -(-HISTORY_SAMPLES // width)
    newest_first = [finite(value) for value in reversed(history)][: step * width]
    cells = [_level(newest_first[start : start + step], glyphs) for start in range(0, len(newest_first), step)]
    return "".join(reversed(cells)).rjust(width)


def sparkline_cells(width: int) -> int:
    """How many of `width` cells a sparkline of the whole window fills: each cell holds equally many samples."""
    return -(-HISTORY_SAMPLES // -(-HISTORY_SAMPLES // max(1, width)))


def _level(samples: Sequence[float | None], glyphs: Glyphs) -> str:
    known = [min(100.0, max(0.0, value)) for value in samples if value is not None]
    if not known:
        return " "
    top = len(glyphs.levels) - 1
    mean = sum(known) / len(known)
    return glyphs.levels[round(mean * top / 100)]
