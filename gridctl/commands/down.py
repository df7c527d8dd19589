"""`gridctl down`: stop the grid."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gridctl.commands.options import drain_option, file_option, name_option, stop_option

if TYPE_CHECKING:
    from gridctl.state import ClusterPaths


@click.command(short_help="Stop the grid.")
@click.option("--drain", is_flag=True, help="Let every session end first; no new one is taken.")
@click.option(
    "-v",
    "--volumes",
    is_flag=True,
    help="Delete the journals too, and what Prometheus and Grafana kept: every session is forgotten.",
)
@click.option("-y", "--yes", is_flag=True, help="Delete without asking.")
@drain_option
@stop_option
@name_option
@file_option
def command(
    name: str | None,
    file: Path | None,
    drain: bool,
    drain_timeout_s: float,
    stop_timeout_s: float,
    volumes: bool,
    yes: bool,
) -> int:
    """Stop the grid: request service, balancer, then substations, each once it answered what is under way.

    It says what it is waiting for; what takes longer than the timeout is killed. Sessions stay in the substations' journals
    and charge on: the next `up` resumes them. --drain waits until they have ended; -v deletes the journals.
    """
    from gridctl.clusters import await_end, resolve, running  # noqa: PLC0415 - only what a verb needs is imported
    from gridctl.control import control_at  # noqa: PLC0415
    from gridctl.progress import operate, print_line, shown  # noqa: PLC0415

    paths = resolve(name, file)
    if volumes:
        _agree(paths, yes)
    if not volumes or running(paths):
        with shown() as progress:
            patience = {"drain_timeout_s": drain_timeout_s, "stop_timeout_s": stop_timeout_s}
            operate(control_at(paths), "down", progress, drain=drain, **patience)
        await_end(paths)
        print_line(f"{paths.name} is down")
    if volumes:
        _delete(paths)
    return 0


def _agree(paths: ClusterPaths, yes: bool) -> None:
    """Ask at a terminal; elsewhere --yes has to say it."""
    from config.errors import GridError, Invalid  # noqa: PLC0415

    if yes:
        return
    if not sys.stdin.isatty():
        raise Invalid(f"-v deletes {paths.data}, and there is no terminal to ask at", "to do it: gridctl down -v --yes")
    if not click.confirm(f"Delete the journals in {paths.data}? Every session is forgotten", err=True):
        raise GridError("nothing was stopped and nothing deleted")


def _delete(paths: ClusterPaths) -> None:
    import shutil  # noqa: PLC0415

    from config.errors import GridError  # noqa: PLC0415
    from gridctl.clusters import running  # noqa: PLC0415
    from gridctl.progress import print_line  # noqa: PLC0415

    if running(paths):
        raise GridError(f"{paths.name} runs again: its journals stay", "see: gridctl ls")
    kept = {
        "journals": paths.data,
        "Prometheus' data": paths.prometheus / "data",
        "Grafana's data": paths.grafana / "data",
    }
    found = [what for what, folder in kept.items() if folder.exists()]
    try:
        for what in found:
            shutil.rmtree(kept[what])
    except OSError as error:
        raise GridError(f"{error.filename} cannot be deleted: {error.strerror}", "delete it by hand") from error
    print_line(f"{paths.name}: {', '.join(found)} deleted" if found else f"{paths.name} has no journals")
