"""`gridctl plan`: what `up` would change, and why; the same as `up --dry-run`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gridctl.commands.options import declaration_options, file_option, json_option, name_option, watcher_options

if TYPE_CHECKING:
    from gridctl.declared import Declared


@click.command(short_help="Show what `up` would change, and why.")
@file_option
@declaration_options
@watcher_options
@json_option
@name_option
def command(file: Path | None, name: str | None, as_json: bool, **declared: Any) -> int:
    """Show what `up` would start, restart and stop, and why. Changes nothing."""
    from gridctl.declared import declare  # noqa: PLC0415 - pydantic, only when needed

    return show_plan(declare(name, file, declared, os.environ), as_json)


def show_plan(wanted: Declared, as_json: bool) -> int:
    """Print the steps from what runs now to what `wanted` declares."""
    steps = _steps(wanted)
    if as_json:
        sys.stdout.write(json.dumps(steps, indent=2) + "\n")
        return 0
    changing = [step for step in steps if step["action"] != "keep"]
    kept = len(steps) - len(changing)
    width = max((len(step["name"]) for step in changing), default=0)
    for step in changing:
        where = f"  {step['url']}" if step.get("url") else ""
        sys.stdout.write(f"{step['action']:<8} {step['name']:<{width}}  {step['cause']}{where}\n")
    sys.stdout.write(f"{len(changing)} to change, {kept} unchanged\n")
    return 0


def _steps(wanted: Declared) -> list[dict[str, Any]]:
    from gridctl.clusters import running  # noqa: PLC0415

    return _from_running(wanted) if running(wanted.paths) else _from_nothing(wanted)


def _from_running(wanted: Declared) -> list[dict[str, Any]]:
    from gridctl.control import control_at  # noqa: PLC0415
    from gridctl.progress import operate, shown  # noqa: PLC0415

    with shown() as progress:
        done = operate(control_at(wanted.paths), "plan", progress, topology=wanted.topology.model_dump_json())
    return list(done["changes"])


def _from_nothing(wanted: Declared) -> list[dict[str, Any]]:
    import dataclasses  # noqa: PLC0415

    from config.plan import changes, launched  # noqa: PLC0415
    from gridctl.kernel import cores  # noqa: PLC0415
    from gridctl.programs import installed  # noqa: PLC0415

    paths = wanted.paths
    specs, missing = installed(launched(wanted.topology, str(paths.targets), str(paths.data), cores()))
    for words in missing:
        click.echo(words, err=True)
    urls = {spec.name: spec.url or _url(spec.host, spec.port, spec.port_fixed) for spec in specs}
    return [{**dataclasses.asdict(step), "url": urls[step.name]} for step in changes((), specs)]


def _url(host: str, port: int, fixed: bool) -> str:
    return f"http://{host}:{port}" + ("" if fixed else " (or a free port)")
