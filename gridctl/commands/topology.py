"""`gridctl topology`: write, check and show topology files, and their schema; must not know a running cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from config.effective import effective, summary
from config.errors import GridError
from config.loading import load_topology
from config.lookup import FILE_NAMES, cluster_name, find_topology_file
from config.overrides import apply_overrides
from config.schema import topology_schema
from config.shipped import shipped_names, shipped_text
from gridctl.commands.options import file_option, json_option, name_option
from gridctl.kernel import cores

Command = TypeVar("Command", bound=Callable[..., Any])

BUILT_IN = "the built-in default"


def write_topology(path: Path, shipped: str, force: bool) -> None:
    """Write the shipped topology `shipped` to `path`; GridError when a file is there and not `force`, or on an OSError."""
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(shipped_text(shipped))
    except FileExistsError as error:
        raise GridError(f"{path} is there already", "--force overwrites it; or name another file") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise GridError(f"{path} cannot be written: {reason}", "name a file in a folder that is there") from error


def check_topology(path: Path | None) -> str:
    """One line that says what the topology `path` (None: the built-in default) declares; Invalid with all its faults."""
    topology = load_topology(path)
    return f"{path or BUILT_IN}: ok: {summary(topology)}"


def show_topology(path: Path | None, name: str | None, environ: Mapping[str, str], **flags: Any) -> dict[str, Any]:
    """The topology `path` as it would start: after the overrides of `flags` and `environ`, every default filled in."""
    topology = apply_overrides(load_topology(path), environ=environ, **flags)
    return effective(topology, cluster_name(name, environ, path), cores())


def as_yaml(values: Mapping[str, Any], source: str) -> str:
    """`values` as YAML that loads again, with a first line that says where it comes from."""
    return f"# effective topology of {source}\n" + yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)


def _found(file: Path | None, argument: Path | None) -> Path | None:
    if file is not None and argument is not None:
        raise click.UsageError("FILE and --file say the same thing: give one of them.")
    return find_topology_file(file or argument, os.environ, Path.cwd())


def _file_argument(command: Command) -> Command:
    return click.argument("argument", metavar="[FILE]", required=False, type=click.Path(path_type=Path))(command)


@click.group()
def command() -> None:
    """Write, check and show topology files.

    Without FILE: $GRIDCTL_FILE, else gridctl.yaml here or in a folder above, else the built-in default.
    """


@command.command("init")
@click.argument("argument", metavar="[FILE]", default=FILE_NAMES[0], type=click.Path(path_type=Path))
@click.option("--from", "shipped", type=click.Choice(shipped_names()), default="default", help="What to start from.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def init_command(argument: Path, shipped: str, force: bool) -> int:
    """Write a commented topology to FILE (gridctl.yaml)."""
    write_topology(argument, shipped, force)
    click.echo(f"wrote {argument}; next: gridctl topology check {argument}")
    return 0


@command.command("check")
@_file_argument
@file_option
def check_command(argument: Path | None, file: Path | None) -> int:
    """Say everything that is wrong with a topology, or that it is ok."""
    click.echo(check_topology(_found(file, argument)))
    return 0


@command.command("show")
@_file_argument
@file_option
@name_option
@click.option("--substations", type=int, metavar="N", help="So many own substations; else $GRIDCTL_SUBSTATIONS.")
@click.option("--policy", metavar="P", help="The balancer's policy; else $GRIDCTL_POLICY.")
@click.option("--time-scale", type=float, metavar="S", help="Grid seconds a wall second; else $GRIDCTL_TIME_SCALE.")
@json_option
def show_command(
    argument: Path | None, file: Path | None, name: str | None, as_json: bool, **flags: int | float | str | None
) -> int:
    """Print the topology as it would start: flags and environment applied, every default filled in."""
    found = _found(file, argument)
    values = show_topology(found, name, os.environ, **flags)
    source = str(found or BUILT_IN)
    click.echo(json.dumps(values, indent=2) if as_json else as_yaml(values, source), nl=as_json)
    return 0


@command.command("schema")
def schema_command() -> int:
    """Print the JSON Schema of a topology, for editors."""
    click.echo(json.dumps(topology_schema(), indent=2))
    return 0
