"""`gridctl unpause`: let frozen processes go on."""

from __future__ import annotations

from pathlib import Path

import click

from gridctl.commands.options import file_option, name_option, required_names_argument


@click.command(short_help="Let frozen processes go on.")
@required_names_argument
@name_option
@file_option
def command(name: str | None, file: Path | None, names: tuple[str, ...]) -> int:
    """Let PAUSED processes go on."""
    from gridctl.control import control_of  # noqa: PLC0415 - only what a verb needs is imported
    from gridctl.progress import operate, shown  # noqa: PLC0415

    with shown() as progress:
        operate(control_of(name, file), "unpause", progress, names=list(names))
    return 0
