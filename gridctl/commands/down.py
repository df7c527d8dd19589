"""`gridctl down`: stop the grid."""

from __future__ import annotations

from pathlib import Path

import click

from gridctl.commands.options import drain_option, file_option, name_option, stop_option


@click.command(short_help="Stop the grid.")
@click.option("--drain", is_flag=True, help="Let every session end first; no new one is taken.")
@drain_option
@stop_option
@name_option
@file_option
def command(name: str | None, file: Path | None, drain: bool, drain_timeout_s: float, stop_timeout_s: float) -> int:
    """Stop the grid: request service, balancer, then substations, each once it answered what is under way.

    It says what it is waiting for; what takes longer than the timeout is killed. Sessions end with their substations
    unless --drain waits for them.
    """
    from gridctl.clusters import resolve  # noqa: PLC0415 - only what a verb needs is imported
    from gridctl.control import control_at  # noqa: PLC0415
    from gridctl.launch import await_end  # noqa: PLC0415
    from gridctl.progress import operate, print_line, shown  # noqa: PLC0415

    paths = resolve(name, file)
    with shown() as progress:
        patience = {"drain_timeout_s": drain_timeout_s, "stop_timeout_s": stop_timeout_s}
        operate(control_at(paths), "down", progress, drain=drain, **patience)
    await_end(paths)
    print_line(f"{paths.name} is down")
    return 0
