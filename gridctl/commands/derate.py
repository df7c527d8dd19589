"""`gridctl derate`: lower limits for substations while they run."""

from __future__ import annotations

from pathlib import Path

import click

from gridctl.commands.options import file_option, name_option, required_names_argument


@click.command(short_help="Lower substations' limits while they run.")
@required_names_argument
@click.option("--capacity-kw", type=click.FloatRange(min=0.001), metavar="KW", help="Admit up to this power.")
@click.option("--max-sessions", type=click.IntRange(min=1), metavar="N", help="Admit up to so many sessions.")
@name_option
@file_option
def command(
    name: str | None, file: Path | None, names: tuple[str, ...], capacity_kw: float | None, max_sessions: int | None
) -> int:
    """Lower the limits of substations while they run; without a limit, give them back what their topology says.

    What charges is never cut, only what is admitted. It holds through restarts, until it is said anew or the grid goes
    down. NAME may be a pattern: 'substation*'.
    """
    from gridctl.control import control_of  # noqa: PLC0415 - only what a verb needs is imported
    from gridctl.progress import operate, shown  # noqa: PLC0415

    with shown() as progress:
        limits = {"capacity_kw": capacity_kw, "max_sessions": max_sessions}
        operate(control_of(name, file), "derate", progress, names=list(names), **limits)
    return 0
