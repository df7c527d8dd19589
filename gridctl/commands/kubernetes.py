"""`gridctl kubernetes export`: the cluster as files for Kubernetes; must not know how they look."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gridctl import __version__
from gridctl.commands.exporting import export_options, finish

if TYPE_CHECKING:
    from gridctl.export.folder import File

_FOLDER = Path("gridctl-kubernetes")


@click.group()
def command() -> None:
    """Write the grid as Kubernetes objects."""


@command.command("export")
@export_options(
    click.option("--image", metavar="IMAGE", help="The image that all services run; else gridctl and this version."),
    click.option(
        "--namespace", metavar="NAMESPACE", help="Where the objects live; else gridctl- and the cluster's name."
    ),
    default=_FOLDER,
    show_default=True,
    help="Where to.",
)
def export_command(output: Path, file: Path | None, name: str | None, force: bool, check: bool, **options: Any) -> int:
    """Write StatefulSets, Services and what belongs to them: one object a file, ready for `kubectl apply -k`.

    Counted substations (`substations: 3`) are replicas that are scaled by the grid's loading; substations with names are
    a StatefulSet each. No Secret is written: README.md there says how to make it.
    """
    return finish("gridctl kubernetes export", output, rendered(name, file, **options), force=force, check=check)


def rendered(
    name: str | None, file: Path | None, image: str | None = None, namespace: str | None = None, **declared: Any
) -> list[File]:
    """Every file of the cluster that is meant; Invalid where the topology or an option is wrong."""
    from gridctl.declared import declare  # noqa: PLC0415 - pydantic, only when needed
    from gridctl.export.containers import deployment  # noqa: PLC0415
    from gridctl.export.kubernetes.render import checked_image, namespace_of, render  # noqa: PLC0415

    found = declare(name, file, declared, os.environ)
    cluster = found.paths.name
    named = checked_image(image or f"gridctl:{__version__}")
    return list(render(deployment(found.topology, cluster), named, namespace_of(cluster, namespace)))
