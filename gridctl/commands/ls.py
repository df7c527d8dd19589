"""`gridctl ls`: every cluster that has state on this machine, running or not."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from config.errors import GridError, NotRunning
from gridctl.commands.options import json_option
from gridctl.console import Cell, Column, print_table
from gridctl.control import control_at
from gridctl.figures import count, duration
from gridctl.processes import state_cell
from gridctl.state import ClusterPaths, cluster_names, state_root

#: How long one cluster may take to answer before the list goes on without it, in wall seconds.
ANSWER_TIMEOUT_S = 1.0

COLUMNS = (
    Column("NAME"),
    Column("STATE"),
    Column("PID", "right", drop=1),
    Column("UPTIME", "right", drop=2),
    Column("STATE DIR", drop=3),
)


@click.command("ls")
@json_option
def command(as_json: bool) -> int:
    """List clusters: the running ones, and stopped ones whose state is still there."""
    root = state_root()
    clusters = [cluster_row(ClusterPaths(root, name)) for name in cluster_names(root)]
    if as_json:
        click.echo(json.dumps(clusters, indent=2))
        return 0
    if not clusters:
        click.echo("no clusters; start one: gridctl up -d", err=True)
        return 0
    print_table(COLUMNS, [_cells(entry) for entry in clusters], sys.stdout)
    return 0


def cluster_row(paths: ClusterPaths) -> dict[str, Any]:
    """One entry of `ls --json`: name, state, supervisor_pid, state_dir, uptime_s (wall seconds).

    STOPPED when no supervisor lives; UNHEALTHY when one lives and does not answer; STARTING before it has its socket.
    """
    entry: dict[str, Any] = {
        "name": paths.name,
        "state": "STOPPED",
        "supervisor_pid": None,
        "state_dir": str(paths.folder),
        "uptime_s": None,
    }
    try:
        cluster = control_at(paths, ANSWER_TIMEOUT_S).snapshot()["cluster"]
    except NotRunning:
        return entry
    except GridError:
        state = "UNHEALTHY" if paths.control_socket.exists() else "STARTING"
        return entry | {"state": state, "supervisor_pid": (paths.read_record() or {}).get("supervisor_pid")}
    return entry | {key: cluster.get(key) for key in ("state", "supervisor_pid", "uptime_s")}


def _cells(entry: dict[str, Any]) -> list[Cell]:
    return [
        Cell(entry["name"], "bold"),
        state_cell(entry["state"]),
        Cell(count(entry["supervisor_pid"])),
        Cell(duration(entry["uptime_s"])),
        Cell(entry["state_dir"]),
    ]
