"""`gridctl scale substations=N`: change how many substations there are."""

from __future__ import annotations

from pathlib import Path

import click

from gridctl.commands.options import drain_option, file_option, name_option, wait_option


@click.command(short_help="Change how many substations there are: substations=N.")
@click.argument("what", metavar="substations=N")
@drain_option
@wait_option
@name_option
@file_option
def command(what: str, name: str | None, file: Path | None, drain_timeout_s: float, wait_timeout_s: float) -> int:
    """Change how many substations of our own there are.

    New ones get the lowest free names. The last ones go first: each takes no new session (DRAINING) and leaves when its
    last one ended; what charges after the drain timeout is dropped then, and its journal says so.
    """
    from gridctl.control import control_of  # noqa: PLC0415 - only what a verb needs is imported
    from gridctl.progress import operate, shown  # noqa: PLC0415

    count = wanted(what)
    with shown() as progress:
        patience = {"drain_timeout_s": drain_timeout_s, "wait_timeout_s": wait_timeout_s}
        operate(control_of(name, file), "scale", progress, substations=count, **patience)
    return 0


def wanted(what: str) -> int:
    """The N of `substations=N` (or `substation=N`, or a bare N), 0 to 10,000; Invalid for anything else."""
    from config.errors import Invalid  # noqa: PLC0415

    key, _, number = what.rpartition("=")
    if key not in {"substations", "substation", ""} or not number.isdecimal() or int(number) > 10_000:
        hint = "for example: gridctl scale substations=5"
        raise Invalid(f"found {what!r}, expected substations=N with N from 0 to 10000", hint)
    return int(number)
