"""`gridctl restart`: stop and start processes, on request one after another."""

from __future__ import annotations

from pathlib import Path

import click

from gridctl.commands.options import drain_option, file_option, name_option, names_argument, stop_option, wait_option


@click.command(short_help="Stop and start processes, on request one after another.")
@names_argument
@click.option("--rolling", is_flag=True, help="One after the other, each READY before the next.")
@click.option("--drain", is_flag=True, help="Let a substation's sessions end first.")
@drain_option
@stop_option
@wait_option
@name_option
@file_option
def command(
    name: str | None,
    file: Path | None,
    names: tuple[str, ...],
    rolling: bool,
    drain: bool,
    drain_timeout_s: float,
    stop_timeout_s: float,
    wait_timeout_s: float,
) -> int:
    """Stop and start processes (all, unless named).

    A restarted substation resumes its sessions: they charge on meanwhile. With --rolling one after the other: the next
    one's turn comes when this one is READY again, and no request fails meanwhile. With --drain a substation takes no new
    session and ends its sessions first (within the drain timeout).
    """
    from gridctl.control import control_of  # noqa: PLC0415 - only what a verb needs is imported
    from gridctl.progress import operate, shown  # noqa: PLC0415

    with shown() as progress:
        operate(
            control_of(name, file),
            "restart",
            progress,
            names=list(names),
            rolling=rolling,
            drain=drain,
            drain_timeout_s=drain_timeout_s,
            stop_timeout_s=stop_timeout_s,
            wait_timeout_s=wait_timeout_s,
        )
    return 0
