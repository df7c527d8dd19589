"""`gridctl up`: start the grid, or bring a running one to what its topology says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gridctl.clusters import resolve
from gridctl.commands.options import (
    declaration_options,
    drain_option,
    file_option,
    name_option,
    wait_option,
    watcher_options,
)

if TYPE_CHECKING:
    from gridctl.declaration import Declaration
    from gridctl.foreground import Foreground
    from gridctl.state import ClusterPaths
    from gridctl.unborn import Unborn


@click.command(short_help="Start the grid, or bring a running one to what its topology says.")
@file_option
@declaration_options
@watcher_options
@click.option("-d", "--detach", is_flag=True, help="Return once all processes are healthy; the grid runs on.")
@click.option("--dry-run", is_flag=True, help="Print what would change, and why; change nothing.")
@click.option("--force", is_flag=True, help="Converge the running cluster though it was started from another topology.")
@wait_option
@drain_option
@name_option
@click.pass_obj
def command(
    unborn: Unborn | None,
    /,
    file: Path | None,
    name: str | None,
    detach: bool,
    dry_run: bool,
    force: bool,
    wait_timeout_s: float,
    drain_timeout_s: float,
    **declared: Any,
) -> int:
    """Start the grid, or bring a running one to what its topology says.

    In a terminal the live table is shown until Ctrl-C, which stops the grid gracefully; a second Ctrl-C kills it. With -d
    the grid runs on by itself, and one line an endpoint says how to reach it.
    """

    if dry_run:
        from gridctl import declared as checking  # noqa: PLC0415 - pydantic, only when needed
        from gridctl.commands.plan import show_plan  # noqa: PLC0415

        return show_plan(checking.declare(name, file, declared, os.environ), as_json=False)

    def declare() -> Declaration:
        from gridctl.declaration import read  # noqa: PLC0415

        return read(file, declared, os.environ)

    timeouts = {"wait_timeout_s": wait_timeout_s, "drain_timeout_s": drain_timeout_s}
    paths = resolve(name, file, os.environ)
    return up(declare, paths, unborn, detach=detach, force=force, timeouts=timeouts)


def up(
    declare: Callable[[], Declaration],
    paths: ClusterPaths,
    unborn: Unborn | None,
    detach: bool,
    force: bool,
    timeouts: dict[str, float],
) -> int:
    """Start or converge the cluster at `paths` to what is declared; in the foreground, stay until it ends. The exit code.

    A supervisor that is started checks what is declared: it has to import what that takes, and this command need not.
    It begins to import before `declare` is called; `unborn` has begun already.
    """
    from gridctl.control import control_at  # noqa: PLC0415
    from gridctl.foreground import Foreground  # noqa: PLC0415

    began = time.monotonic()
    foreground = Foreground(control_at(paths), paths, detach, unborn=unborn)
    with foreground.interruptible():
        foreground.prepare()
        declaration = declare()
        fresh = foreground.start(declaration)
        _converge(foreground, declaration, fresh, force, timeouts)
        snapshot = foreground.control.snapshot(usage=False)
        if detach:
            foreground.let_go()
        _announce(snapshot, time.monotonic() - began)
        if not detach:
            foreground.stay()
    return 0


def _converge(
    foreground: Foreground, declaration: Declaration, fresh: bool, force: bool, timeouts: dict[str, float]
) -> None:
    from config.errors import GridError, NotReady  # noqa: PLC0415
    from gridctl.progress import operate, shown  # noqa: PLC0415

    declared = {"topology": _topology(foreground, declaration), "source": declaration.source}
    try:
        with shown(every_state=False) as progress:
            operate(foreground.control, "apply", progress, **declared, force=force, **timeouts)
    except GridError as error:
        if isinstance(error, NotReady) and foreground.detach:
            foreground.let_go()  # what came up stays up, for `ps` and `logs` to be asked
        elif fresh:
            foreground.stop()
        raise


def _topology(foreground: Foreground, declaration: Declaration) -> str:
    """As JSON, checked: by the supervisor that was started here, else by this command."""
    if foreground.supervisor is not None:
        return foreground.supervisor.topology
    from gridctl.declared import checked  # noqa: PLC0415 - pydantic, only when needed

    return checked(declaration, os.environ).model_dump_json()


def _announce(snapshot: dict[str, Any], took_s: float) -> None:
    from gridctl.endpoints import endpoint_lines  # noqa: PLC0415
    from gridctl.progress import print_line  # noqa: PLC0415

    name, processes = snapshot["cluster"]["name"], snapshot["processes"]
    print_line(f"{name} is up: {len(processes)} processes ready in {took_s:.2f} s")
    for line in endpoint_lines(processes):
        print_line(line)
    option = "" if name == "grid" else f" --name {name}"
    print_line(
        f"Next: gridctl top{option} · gridctl loadtest{option} --rate 0.5 · gridctl logs -f{option} · gridctl down{option}"
    )
