"""`gridctl version`: which gridctl this is, and whether its busiest modules are compiled."""

from __future__ import annotations

import importlib.util
import json
import platform

import click

from gridctl import __version__
from gridctl.commands.options import json_option

#: What all compiled modules share (setup.py); there is none beside plain Python.
_LIBRARY = "services.native__mypyc"


@click.command("version")
@json_option
def command(as_json: bool) -> int:
    """Print the version."""
    compiled = importlib.util.find_spec(_LIBRARY) is not None
    if as_json:
        click.echo(json.dumps({"version": __version__, "python": platform.python_version(), "compiled": compiled}))
    else:
        click.echo(f"gridctl {__version__}" + (" (compiled)" if compiled else ""))
    return 0
