"""`gridctl version`: which gridctl this is, and whether its busiest modules are compiled."""

from __future__ import annotations

import json
import platform
from importlib.machinery import PathFinder
from importlib.util import find_spec

import click

from gridctl import __version__
from gridctl.commands.options import json_option

#: What all compiled modules share (setup.py), in the package `services`; there is none beside plain Python.
_LIBRARY = "native__mypyc"


@click.command("version")
@json_option
def command(as_json: bool) -> int:
    """Print the version."""
    compiled = _is_compiled()
    if as_json:
        click.echo(json.dumps({"version": __version__, "python": platform.python_version(), "compiled": compiled}))
    else:
        click.echo(f"gridctl {__version__}" + (" (compiled)" if compiled else ""))
    return 0


def _is_compiled() -> bool:
    services = find_spec("services")  # found, not imported
    return services is not None and PathFinder.find_spec(_LIBRARY, services.submodule_search_locations) is not None
