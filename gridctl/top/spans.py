"""Lines of coloured text, one cell a character; must not know what they say, nor how a terminal draws them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

#: A text and the tone (see `tones`) it is drawn in.
Span: TypeAlias = tuple[str, str]
#: One line of the screen. Every character of it takes one cell (`narrow` sees to that), so its width is its length.
Line: TypeAlias = tuple[Span, ...]


def width_of(line: Iterable[Span]) -> int:
    """How many cells the line takes."""
    return sum(len(text) for text, _ in line)


def plain(line: Iterable[Span]) -> str:
    """The line's text without its tones and trailing blanks."""
    return "".join(text for text, _ in line).rstrip()


def clip(line: Line, width: int) -> Line:
    """The line cut after `width` cells; itself where it fits."""
    if width_of(line) <= width:
        return line
    kept: list[Span] = []
    room = width
    for text, tone in line:
        if room <= 0:
            break
        kept.append((text[:room], tone))
        room -= len(text)
    return tuple(kept)


def pad(line: Line, width: int) -> Line:
    """The line cut or filled with blanks to exactly `width` cells."""
    missing = width - width_of(line)
    if missing > 0:
        return (*line, (" " * missing, ""))
    return clip(line, width)


def join(items: Iterable[Iterable[Span]], gap: int) -> Line:
    """The items one after the other on one line, `gap` blanks between them."""
    spans: list[Span] = []
    for item in items:
        if spans:
            spans.append((" " * gap, ""))
        spans.extend(item)
    return tuple(spans)


def flow(items: Iterable[Line], width: int, gap: int = 3) -> list[Line]:
    """The items packed in order into lines of at most `width` cells; an item is never split, one too long is cut."""
    lines: list[list[Line]] = [[]]
    used = 0
    for item in items:
        size = width_of(item)
        if lines[-1] and used + gap + size > width:
            lines.append([])
        used = size if not lines[-1] else used + gap + size
        lines[-1].append(item)
    return [clip(join(line, gap), width) for line in lines if line]


def shorten(text: str, width: int, ellipsis: str) -> str:
    """`text` in at most `width` cells. Its end is kept longest: names that are alike mostly differ there."""
    if len(text) <= width:
        return text
    if width <= len(ellipsis) + 1:
        return text[-width:] if width > 0 else ""
    kept = width - len(ellipsis)
    head = kept // 3
    return text[:head] + ellipsis + text[len(text) - (kept - head) :]


@lru_cache(maxsize=4096)
def narrow(text: str, ascii_only: bool = True) -> str:
    """`text` with `?` for each character that is not ASCII or, if `ascii_only` is False, not exactly one cell wide."""
    return "".join(char if _is_narrow(char, ascii_only) else "?" for char in text)


def _is_narrow(char: str, ascii_only: bool) -> bool:
    if char.isascii():
        return char.isprintable()
    if ascii_only or not char.isprintable() or unicodedata.combining(char):
        return False
    return unicodedata.category(char)[0] in "LNPS" and unicodedata.east_asian_width(char) in ("N", "Na", "A")


def common_prefix(names: Sequence[str]) -> str:
    """What all names start with (3 cells and more, digits at its end not counted) and none consists of; else empty."""
    if len(names) < 2:
        return ""
    first, last = min(names), max(names)
    size = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    prefix = first[:size].rstrip("0123456789")
    return prefix if len(prefix) >= 3 and all(len(name) > len(prefix) for name in names) else ""
