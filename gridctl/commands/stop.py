"""`gridctl stop`: stop processes; they stay down."""

from __future__ import annotations

from pathlib import Path

import click

from gridctl.commands.options import drain_option, file_option, name_option, required_names_argument, stop_option


@click.command(short_help="Stop processes; they stay down.")
@required_names_argument
@click.option("--drain", is_flag=True, help="Let a substation's sessions end first.")
@drain_option
@stop_option
@name_option
@file_option
def command(
    name: str | None,
    file: Path | None,
    names: tuple[str, ...],
    drain: bool,
    drain_timeout_s: float,
    stop_timeout_s: float,
) -> int:
    """Stop processes; they stay down until `start`. NAME may be a pattern: 'substation*'.

    A stopped substation's sessions charge on and are resumed by its next start, unless --drain waits for them to end.
    """
    from gridctl.control import control_of  # noqa: PLC0415 - only what a verb needs is imported
    from gridctl.progress import operate, shown  # noqa: PLC0415

    with shown() as progress:
        operate(
            control_of(name, file),
            "stop",
            progress,
            names=list(names),
            drain=drain,
            drain_timeout_s=drain_timeout_s,
            stop_timeout_s=stop_timeout_s,
        )
    return 0
