"""`gridctl top`: watch a cluster live, or print it once, as text, JSON or a picture."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from config.errors import GridError, NotRunning
from gridctl.commands.options import file_option, json_option, name_option
from gridctl.console import uses_ansi, width_of
from gridctl.control import control_of
from gridctl.top.bars import glyphs_for
from gridctl.top.document import document
from gridctl.top.layout import whole_frame
from gridctl.top.spans import plain

#: How wide one frame is where there is no terminal: into a pipe or a file.
PIPE_WIDTH = 120
#: A supervisor answers from memory; the keys wait no longer than this for it.
ANSWER_TIMEOUT_S = 2.0

Fetch = Callable[[], dict[str, Any]]


@click.command("top")
@name_option
@file_option
@json_option
@click.option("--once", is_flag=True, help="Print one frame with every substation, and exit.")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(min=0.1, max=3600),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="How often a live view, or a stream of JSON, is renewed.",
)
@click.option(
    "--svg",
    "svg_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --once: write the frame as an SVG picture (the README's is made so).",
)
def command(
    name: str | None, file: Path | None, as_json: bool, once: bool, interval_s: float, svg_file: Path | None
) -> int:
    """Watch the grid live: load, sessions, arrivals, CPU and memory of every substation.

    Keys: q leaves; PgUp and PgDn turn pages where not all substations fit. With --json alone it prints one document a line
    each interval until Ctrl-C. Not on a terminal, or with NO_COLOR set, it prints one frame, as --once does.
    """
    if svg_file is not None and not once:
        raise click.UsageError("--svg needs --once: a picture is of one frame")
    if svg_file is not None and as_json:
        raise click.UsageError("--svg and --json exclude each other")
    fetch = control_of(name, file, timeout_s=ANSWER_TIMEOUT_S).snapshot
    if svg_file is not None:
        return _draw(fetch(), svg_file)
    if as_json:
        return _print_document(fetch()) if once else _stream(fetch, interval_s)
    if once or not uses_ansi(sys.stdout):
        return _print_frame(fetch())
    return _watch(fetch, interval_s)


def _draw(snapshot: dict[str, Any], target: Path) -> int:
    from gridctl.top.picture import svg  # noqa: PLC0415 - rich is imported only to draw

    try:
        target.write_text(svg(snapshot), encoding="utf-8")
    except OSError as error:
        raise GridError(
            f"cannot write {target}: {error.strerror}", "give --svg a file in a folder that exists"
        ) from None
    return 0


def _print_document(snapshot: dict[str, Any]) -> int:
    click.echo(json.dumps(document(snapshot), indent=2))
    return 0


def _stream(fetch: Fetch, interval_s: float) -> int:
    """One document a line until Ctrl-C, or until the cluster ends."""
    click.echo(json.dumps(document(fetch())))
    while True:
        time.sleep(interval_s)
        try:
            click.echo(json.dumps(document(fetch())))
        except NotRunning:
            return 0


def _print_frame(snapshot: dict[str, Any]) -> int:
    glyphs = glyphs_for(sys.stdout.encoding)
    frame = whole_frame(snapshot, width_of(sys.stdout) or PIPE_WIDTH, glyphs=glyphs)
    if not uses_ansi(sys.stdout):
        click.echo("\n".join(plain(line) for line in frame.lines))
        return 0
    from rich.console import Console  # noqa: PLC0415 - rich is imported only to draw

    from gridctl.top.paint import Brush  # noqa: PLC0415

    brush = Brush(Console(file=sys.stdout))
    click.echo("\n".join(brush.line(line, sum(len(text) for text, _ in line)) for line in frame.lines), color=True)
    return 0


def _watch(fetch: Fetch, interval_s: float) -> int:
    from rich.console import Console  # noqa: PLC0415 - rich is imported only to draw

    from gridctl.top.live import watch  # noqa: PLC0415

    return watch(fetch, console=Console(file=sys.stdout), interval_s=interval_s)
