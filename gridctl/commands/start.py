"""`gridctl start`: start stopped processes."""

from __future__ import annotations

from pathlib import Path

import click

from gridctl.commands.options import file_option, name_option, names_argument, wait_option


@click.command(short_help="Start stopped processes.")
@names_argument
@wait_option
@name_option
@file_option
def command(name: str | None, file: Path | None, names: tuple[str, ...], wait_timeout_s: float) -> int:
    """Start processes that are STOPPED, FATAL or in BACKOFF (all, unless named), and wait until they are READY."""
    from gridctl.control import control_of  # noqa: PLC0415 - only what a verb needs is imported
    from gridctl.progress import operate, shown  # noqa: PLC0415

    with shown() as progress:
        operate(control_of(name, file), "start", progress, names=list(names), wait_timeout_s=wait_timeout_s)
    return 0
