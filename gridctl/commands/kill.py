"""`gridctl kill`: send processes a signal."""

from __future__ import annotations

from pathlib import Path

import click

from gridctl.commands.options import complete_signals, file_option, name_option, required_names_argument


@click.command(short_help="Send processes a signal: a crash, from which they come back.")
@required_names_argument
@click.option(
    "-s",
    "--signal",
    shell_complete=complete_signals,
    default="KILL",
    show_default=True,
    metavar="SIGNAL",
    help="Name or number.",
)
@name_option
@file_option
def command(name: str | None, file: Path | None, names: tuple[str, ...], signal: str) -> int:
    """Send processes a signal. That is a crash: the service comes back; `stop` is what keeps it down."""
    from gridctl.control import control_of  # noqa: PLC0415 - only what a verb needs is imported
    from gridctl.progress import operate, shown  # noqa: PLC0415

    with shown() as progress:
        operate(control_of(name, file), "kill", progress, names=list(names), signal=signal)
    return 0
