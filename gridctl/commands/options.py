"""Options and arguments that several commands share; must not know a command.

Parameters: `name: str | None`, `file: Path | None`, `as_json: bool`, `names: tuple[str, ...]`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

Command = TypeVar("Command", bound=Callable[..., Any])


def complete_clusters(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The known clusters whose name begins with `incomplete`."""
    from gridctl.state import cluster_names, state_root  # noqa: PLC0415 - only a shell that completes needs it

    return [CompletionItem(name) for name in cluster_names(state_root()) if name.startswith(incomplete)]


def complete_processes(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The processes of the cluster that is meant whose name begins with `incomplete`; none if it cannot be asked."""
    from config.errors import GridError  # noqa: PLC0415
    from gridctl.control import control_of  # noqa: PLC0415

    try:
        processes = control_of(ctx.params.get("name"), ctx.params.get("file"), timeout_s=1.0).snapshot()["processes"]
    except (GridError, KeyError):
        return []
    return [
        CompletionItem(entry["name"], help=entry["state"])
        for entry in processes
        if entry["name"].startswith(incomplete)
    ]


def name_option(command: Command) -> Command:
    """`--name C`: the cluster."""
    return click.option(
        "--name",
        metavar="CLUSTER",
        shell_complete=complete_clusters,
        help="The cluster; else $GRIDCTL_NAME, else the topology's name, its folder's, or grid.",
    )(command)


def _file_option(*declarations: str) -> Callable[[Command], Command]:
    return click.option(
        *declarations,
        "file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="The topology; else $GRIDCTL_FILE, else gridctl.yaml here or above, else the built-in one.",
    )


def file_option(command: Command) -> Command:
    """`-f/--file FILE`: the topology."""
    return _file_option("-f", "--file")(command)


def long_file_option(command: Command) -> Command:
    """`--file FILE`, for commands whose `-f` is `--follow`."""
    return _file_option("--file")(command)


def json_option(command: Command) -> Command:
    """`--json`: print one JSON document in place of text."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def names_argument(command: Command) -> Command:
    """`[NAME]...`: processes, globs allowed."""
    return click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_processes)(command)


def required_names_argument(command: Command) -> Command:
    """`NAME...`: at least one process, globs allowed."""
    argument = click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_processes)
    return argument(command)
