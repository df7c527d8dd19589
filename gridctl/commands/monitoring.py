"""`gridctl monitoring export`: what Prometheus, Alertmanager and Grafana need; must not know how it is rendered."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from config.errors import Invalid
from gridctl.commands.exporting import export_options, finish

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridctl.declared import Declared
    from gridctl.export.monitoring import Watched

_FOLDER = Path("gridctl-monitoring")


@click.group()
def command() -> None:
    """Write what Prometheus, Alertmanager and Grafana need."""


@command.command("export")
@export_options(
    click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The token of the services, if they demand one; else, unless the cluster runs, what GRIDCTL_TOKEN_FILE names.",
    ),
    default=_FOLDER,
    show_default=True,
    help="Where to.",
)
def export_command(
    output: Path,
    file: Path | None,
    name: str | None,
    token_file: Path | None,
    force: bool,
    check: bool,
    **declared: Any,
) -> int:
    """Write prometheus.yml, targets.json, rules, an Alertmanager example and Grafana's datasource and dashboards.

    Of a cluster that runs, prometheus.yml names the targets file that follows each scale by itself; else targets.json
    lists what the topology wants.
    """
    from gridctl.declared import declare  # noqa: PLC0415 - pydantic, only when needed
    from gridctl.export.monitoring import exported  # noqa: PLC0415

    found = _watched(declare(name, file, declared, os.environ), token_file, os.environ)
    files = list(exported(found, output.absolute()))
    return finish("gridctl monitoring export", output, files, force=force, check=check)


def _watched(declared: Declared, token_file: Path | None, environ: Mapping[str, str]) -> Watched:
    from gridctl.clusters import running  # noqa: PLC0415
    from gridctl.export.monitoring import Watched, wanted  # noqa: PLC0415
    from gridctl.kernel import cores  # noqa: PLC0415

    if running(declared.paths):  # what `up` runs demands no token, and none of another grid is meant for it
        return _live(declared, _readable(token_file, {}))
    cluster, topology = declared.paths.name, declared.topology
    return Watched(cluster, topology, wanted(cluster, topology, cores()), token_file=_readable(token_file, environ))


def _readable(token_file: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that holds the token, by the flag or by the environment; Invalid where none can be read from it.

    The token itself goes nowhere: one that is in no file Prometheus cannot be told, and Invalid says so.
    """
    from config.access import read_token  # noqa: PLC0415
    from config.variables import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE  # noqa: PLC0415

    named = environ.get(TOKEN_FILE_VARIABLE)
    if token_file is None and named is None:
        if TOKEN_VARIABLE in environ:
            raise _in_no_file()
        return None
    read_token(environ, None if token_file is None else str(token_file))
    return Path(token_file or named or "").absolute()


def _in_no_file() -> Invalid:
    from config.variables import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE  # noqa: PLC0415

    return Invalid(
        f"{TOKEN_VARIABLE} is set, but Prometheus reads a token from a file only",
        f"put it into one: (umask 077; printenv {TOKEN_VARIABLE} > FILE), and say --token-file FILE, or"
        f" {TOKEN_FILE_VARIABLE}=FILE in its place; if the services demand none, unset {TOKEN_VARIABLE}",
    )


def _live(declared: Declared, token_file: Path | None) -> Watched:
    """As it runs: its own topology, its real ports, and what watches it already."""
    import json  # noqa: PLC0415

    from config.names import GRAFANA, PROMETHEUS  # noqa: PLC0415
    from config.topology import Topology  # noqa: PLC0415
    from gridctl.control import control_at  # noqa: PLC0415
    from gridctl.export.monitoring import Watched  # noqa: PLC0415

    paths = declared.paths
    beside = {entry["role"]: entry["url"] for entry in control_at(paths).snapshot()["processes"]}
    record = paths.read_record() or {}
    return Watched(
        cluster=paths.name,
        topology=Topology.model_validate(record.get("topology", {})),
        targets=json.loads(paths.targets.read_text()),
        live=paths.targets,
        prometheus_url=beside.get(PROMETHEUS),
        grafana_url=beside.get(GRAFANA),
        token_file=token_file,
    )
