"""Tones as colours: which rich style each has, and lines as escape codes or rich text; must not know what a line says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from rich.text import Text

from gridctl.top import tones
from gridctl.top.spans import Line, pad

STYLES: dict[str, Style] = {
    tones.PLAIN: Style(),
    tones.TITLE: Style(bold=True),
    tones.FAINT: Style(dim=True),
    tones.TRACE: Style(color="blue"),
    tones.GOOD: Style(color="green"),
    tones.BUSY: Style(color="yellow"),
    tones.FULL: Style(color="magenta"),
    tones.BAD: Style(color="red", bold=True),
    tones.INFO: Style(color="cyan"),
    tones.HELD: Style(color="magenta"),
}

#: By the names that `Console.color_system` uses.
_COLOR_SYSTEMS = {
    "standard": ColorSystem.STANDARD,
    "256": ColorSystem.EIGHT_BIT,
    "truecolor": ColorSystem.TRUECOLOR,
    "windows": ColorSystem.WINDOWS,
}


class Brush:
    """Writes lines as the escape codes of one console's colours; each tone's codes are worked out once."""

    def __init__(self, console: Console) -> None:
        self._codes = {tone: _codes(style, console) for tone, style in STYLES.items()}

    def line(self, line: Line, width: int) -> str:
        """The line in exactly `width` cells, with its colours."""
        return "".join(f"{start}{text}{end}" for text, (start, end) in self._parts(pad(line, width)))

    def _parts(self, line: Line) -> Iterable[tuple[str, tuple[str, str]]]:
        return ((text, self._codes[tone]) for text, tone in line if text)


def _codes(style: Style, console: Console) -> tuple[str, str]:
    """What goes before and after a text of this style."""
    name = console.color_system
    if name is None:
        return "", ""
    if console.no_color:
        style = style.without_color
    start, end = style.render("\0", color_system=_COLOR_SYSTEMS[name]).split("\0")
    return start, end


def rich_text(lines: Sequence[Line]) -> Text:
    """The lines as one rich text that is never wrapped."""
    text = Text(no_wrap=True, overflow="crop", end="")
    for number, line in enumerate(lines):
        if number:
            text.append("\n")
        for part, tone in line:
            text.append(part, STYLES[tone])
    return text
