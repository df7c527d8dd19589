"""`gridctl ps`: the processes of one cluster."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from gridctl.commands.options import file_option, json_option, name_option, names_argument
from gridctl.console import print_table
from gridctl.control import control_of
from gridctl.processes import COLUMNS, cells, listed, troubles
from gridctl.selection import select


@click.command("ps")
@names_argument
@name_option
@file_option
@json_option
def command(names: tuple[str, ...], name: str | None, file: Path | None, as_json: bool) -> int:
    """List a cluster's processes, or those that NAME… mean (globs: 'substation*')."""
    processes = control_of(name, file).snapshot()["processes"]
    if names:
        chosen = set(select(names, [entry["name"] for entry in processes]))
        processes = [entry for entry in processes if entry["name"] in chosen]
    if as_json:
        click.echo(json.dumps([listed(entry) for entry in processes], indent=2))
        return 0
    print_table(COLUMNS, [cells(entry) for entry in processes], sys.stdout)
    for line in troubles(processes):
        click.echo(line)
    return 0
