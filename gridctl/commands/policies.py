"""`gridctl policies`: how the balancer may choose a substation, with a sentence each, and where each comes from."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from gridctl.commands.options import json_option
from gridctl.console import Cell, Column, print_table
from services.routing import registry

COLUMNS = (Column("POLICY"), Column("WHAT IT DOES"), Column("FROM", drop=1))


@click.command("policies")
@json_option
def command(as_json: bool) -> int:
    """List the policies by which the balancer can choose a substation.

    Plug-ins are packages with an entry point in the group `gridctl.policies`. One that cannot be loaded is listed with the
    reason.
    """
    entries = registry.entries()
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in entries], indent=2))
        return 0
    print_table(COLUMNS, [_cells(entry) for entry in entries], sys.stdout)
    return 0


def _cells(entry: registry.Entry) -> list[Cell]:
    what = Cell(f"cannot be used: {entry.error}", "red") if entry.error else Cell(entry.summary)
    return [Cell(entry.name, "bold"), what, Cell(entry.source)]
