"""`gridctl compose export`: the cluster as files for Compose or Swarm; must not know how they are rendered."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gridctl.commands.exporting import export_options, finish

if TYPE_CHECKING:
    from gridctl.declared import Declared
    from gridctl.export.containers import Deployment
    from gridctl.export.folder import File

_FOLDER = Path("gridctl-compose")
_STACK = Path("gridctl-swarm")
#: What a folder remembers, by whether it is a stack. With --scalable or without is one kind: neither removes the other's.
_KINDS = {False: "gridctl compose export", True: "gridctl compose export --swarm"}


@click.group()
def command() -> None:
    """Write the cluster as files for Docker Compose."""


@command.command("export")
@export_options(
    click.option(
        "--scalable", is_flag=True, help="One service for all substations, to be scaled by `up --scale substation=N`."
    ),
    click.option("--swarm", is_flag=True, help="A stack for Docker Swarm: stack.yaml in place of compose.yaml."),
    help=f"Where to; else {_FOLDER}, and {_STACK} with --swarm.",
)
def export_command(
    output: Path | None, file: Path | None, name: str | None, force: bool, check: bool, **options: Any
) -> int:
    """Write compose.yaml and all that it needs: images are built from there, by Docker alone.

    Services are those that `up` would start, each substation by its name, and Prometheus and Grafana. With --scalable the
    substations, which must be alike, are replicas of one service. In a stack (--swarm) they are so where the topology
    only counts them.
    """
    swarm, scalable = (bool(options.pop(kind)) for kind in ("swarm", "scalable"))
    if swarm and scalable:
        raise click.UsageError(
            "--swarm makes replicas of substations that are only counted anyway: leave --scalable out."
        )
    from gridctl.declared import declare  # noqa: PLC0415 - pydantic, only when needed

    found = declare(name, file, options, os.environ)
    files = list((_stack if swarm else _compose)(found, scalable))
    return _finish(output or (_STACK if swarm else _FOLDER), files, swarm, force, check)


def _compose(found: Declared, scalable: bool) -> Iterator[File]:
    from gridctl.export.compose.render import render  # noqa: PLC0415
    from gridctl.export.containers import HOST_GATEWAY, deployment  # noqa: PLC0415
    from gridctl.export.image.context import context  # noqa: PLC0415
    from gridctl.export.scalable import replicated  # noqa: PLC0415

    wanted = deployment(found.topology, found.paths.name, HOST_GATEWAY)
    _tell_rerouted(wanted)
    return render(replicated(wanted) if scalable else wanted, context())


def _stack(found: Declared, _scalable: bool) -> Iterator[File]:
    from gridctl.export.compose.swarm import render, stacked  # noqa: PLC0415
    from gridctl.export.image.context import context  # noqa: PLC0415

    return render(stacked(found.topology, found.paths.name), context())


def _finish(output: Path, files: list[File], swarm: bool, force: bool, check: bool) -> int:
    from gridctl.export.compose.services import MAKE_TOKEN, SECRET_FILE  # noqa: PLC0415

    first = None if (output / SECRET_FILE).exists() else f"(cd {shlex.quote(str(output))} && {MAKE_TOKEN})"
    return finish(_KINDS[swarm], output, files, force=force, check=check, first=first)


def _tell_rerouted(wanted: Deployment) -> None:
    """On stderr: a container cannot reach this machine's loopback."""
    for spec in wanted.externals:
        if spec.name in wanted.rerouted:
            told = (
                f"{spec.name} runs on this machine: containers will look for it at {spec.url}, so it must listen there"
            )
            click.echo(f"{told} (on Linux: not on 127.0.0.1 only)", err=True)
