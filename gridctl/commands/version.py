"""`gridctl version`: which gridctl this is."""

from __future__ import annotations

import json
import platform

import click

from gridctl import __version__
from gridctl.commands.options import json_option


@click.command("version")
@json_option
def command(as_json: bool) -> int:
    """Print the version."""
    if as_json:
        click.echo(json.dumps({"version": __version__, "python": platform.python_version()}))
    else:
        click.echo(f"gridctl {__version__}")
    return 0
