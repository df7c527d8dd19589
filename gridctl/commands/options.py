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


def complete_policies(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The policies whose name begins with `incomplete`."""
    from services.routing.policies import POLICIES  # noqa: PLC0415

    return [CompletionItem(policy) for policy in POLICIES if policy.startswith(incomplete)]


def complete_signals(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The signals whose name, without SIG, begins with `incomplete`."""
    import signal  # noqa: PLC0415

    names = [number.name.removeprefix("SIG") for number in signal.Signals]
    return [CompletionItem(name) for name in names if name.startswith(incomplete.upper().removeprefix("SIG"))]


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


def declaration_options(command: Command) -> Command:
    """`--substations`, `--policy`, `--time-scale`: what a flag may change of the topology; None: not given."""
    for option in (
        click.option("--time-scale", type=float, metavar="X", help="Grid seconds per wall second."),
        click.option("--policy", metavar="POLICY", shell_complete=complete_policies, help="The balancer's policy."),
        click.option("--substations", type=int, metavar="N", help="How many substations of our own."),
    ):
        command = option(command)
    return command


def watcher_options(command: Command) -> Command:
    """`--prometheus`, `--grafana`: what the launcher is to run beside the grid; None: not given."""
    for option in (
        click.option("--grafana/--no-grafana", default=None, help="A Grafana with dashboards beside the grid."),
        click.option(
            "--prometheus/--no-prometheus", default=None, help="A Prometheus beside the grid that watches it."
        ),
    ):
        command = option(command)
    return command


def wait_option(command: Command) -> Command:
    """`--wait-timeout S`: how long to wait for READY."""
    return click.option(
        "--wait-timeout",
        "wait_timeout_s",
        type=click.FloatRange(min=0),
        default=60.0,
        show_default=True,
        metavar="S",
        help="Seconds to wait until all are READY.",
    )(command)


def drain_option(command: Command) -> Command:
    """`--drain-timeout S`: how long a substation may take until its last session ended."""
    return click.option(
        "--drain-timeout",
        "drain_timeout_s",
        type=click.FloatRange(min=0),
        default=60.0,
        show_default=True,
        metavar="S",
        help="Seconds a substation may take to end its sessions before it is stopped all the same.",
    )(command)


def stop_option(command: Command) -> Command:
    """`-t/--timeout S`: how long a stopping service may take to answer what is under way."""
    return click.option(
        "-t",
        "--timeout",
        "stop_timeout_s",
        type=click.FloatRange(min=0),
        default=10.0,
        show_default=True,
        metavar="S",
        help="Seconds a stopping process may take before it is killed.",
    )(command)
