"""A frame as an SVG picture, drawn by rich; it refers to nothing on the network. Must not know where it is written."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from gridctl.top.layout import whole_frame
from gridctl.top.paint import rich_text

WIDTH = 100

#: Calm on a dark ground, readable on a light page and on a dark one.
THEME = TerminalTheme(
    (24, 28, 37),
    (208, 214, 224),
    [
        (60, 66, 80),
        (224, 108, 117),
        (136, 192, 120),
        (229, 192, 110),
        (97, 160, 224),
        (198, 130, 210),
        (90, 190, 200),
        (208, 214, 224),
    ],
)

#: rich's own layout with the reader's monospaced font: no font is fetched, and each text's length is fixed by rich.
TEMPLATE = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
    <style>
    .{unique_id}-matrix {{
        font-family: ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
        font-size: {char_height}px;
        line-height: {line_height}px;
    }}
    .{unique_id}-title {{
        font-size: 18px;
        font-weight: bold;
        font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif;
    }}
    {styles}
    </style>
    <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
    </defs>
    {chrome}
    <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
    </g>
</svg>
"""


def svg(snapshot: Mapping[str, Any], *, width: int = WIDTH, title: str = "gridctl top") -> str:
    """The snapshot as an SVG document, `width` cells wide, one row for every substation."""
    console = Console(
        record=True,
        file=io.StringIO(),
        width=width,
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
        legacy_windows=False,
    )
    console.print(rich_text(whole_frame(snapshot, width).lines))
    return console.export_svg(title=title, theme=THEME, code_format=TEMPLATE, unique_id="gridctl-top")
