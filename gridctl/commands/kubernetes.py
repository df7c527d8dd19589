"""`gridctl kubernetes export`: the cluster as files for Kubernetes; must not know how they look."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gridctl import __version__
from gridctl.commands.options import file_option, name_option
from gridctl.declared import declare
from gridctl.export.containers import deployment
from gridctl.export.folder import File, require_current, write
from gridctl.export.kubernetes.objects import APP
from gridctl.export.kubernetes.render import checked_image, namespace_of, render

FOLDER = Path("gridctl-kubernetes")


@click.group()
def command() -> None:
    """Write the grid as Kubernetes objects."""


@command.command("export")
@click.option(
    "-o",
    "--output",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=FOLDER,
    show_default=True,
    help="Where to write.",
)
@file_option
@name_option
@click.option("--image", metavar="IMAGE", help="The image that all services run; else gridctl and this version.")
@click.option("--namespace", metavar="NAMESPACE", help="Where the objects live; else gridctl- and the cluster's name.")
@click.option("--force", is_flag=True, help="Overwrite files that no export wrote, or that were edited since.")
@click.option("--check", is_flag=True, help="Write nothing; exit 4 and name what is not as it would be written now.")
def export_command(
    folder: Path,
    file: Path | None,
    name: str | None,
    image: str | None,
    namespace: str | None,
    force: bool,
    check: bool,
) -> int:
    """Write StatefulSets, Services and what belongs to them: one object a file, ready for `kubectl apply -k`.

    Counted substations (`substations: 3`) are replicas that are scaled by the grid's loading; substations with names are
    a StatefulSet each. No Secret is written: README.md there says how to make it.
    """
    files = rendered(name, file, image, namespace)
    if check:
        require_current(folder, files)
        click.echo(f"{folder} is current")
        return 0
    outcome = write(folder, files, force)
    click.echo(f"{folder}: {len(files)} files, {len(outcome.written)} written; next: {folder / 'README.md'}")
    return 0


def rendered(name: str | None, file: Path | None, image: str | None, namespace: str | None) -> list[File]:
    """Every file of the cluster that is meant; Invalid where the topology or an option is wrong."""
    declared = declare(name, file, {}, os.environ)
    cluster = declared.paths.name
    named = checked_image(image or f"{APP}:{__version__}")
    return list(render(deployment(declared.topology, cluster), named, namespace_of(cluster, namespace)))
