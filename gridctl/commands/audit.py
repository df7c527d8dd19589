"""`gridctl audit`: proves or refutes a cluster's promises and prints the verdict. Must not know how it is reached."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gridctl.clusters import not_running, resolve
from gridctl.commands.options import file_option, json_option, name_option


@click.command("audit")
@name_option
@file_option
@json_option
def command(name: str | None, file: Path | None, as_json: bool) -> int:
    """Prove from a cluster's own journals, logs and events that it kept its promises, or name who broke one.

    I1: no session began above a substation's limits. I2: no request had two sessions at once, unless one was revoked and
    ended within 2 s of its substation being reachable. I3: whoever was answered 202 has a session or a place in a queue,
    until its end or a recorded reason. And nothing was refused while a reachable substation had room all the time.

    The cluster may be running or stopped. Exits with 4 when a promise was broken, when a record cannot be read, and when
    there was nothing to check.
    """
    from gridctl import audit  # noqa: PLC0415 - SQLite and pydantic: not for --help
    from gridctl.audit.summary import lines  # noqa: PLC0415

    paths = resolve(name, file)
    if not paths.folder.is_dir():
        raise not_running(paths)
    verdict = audit.run(paths)
    click.echo(json.dumps(verdict.to_json(), indent=2) if as_json else "\n".join(lines(verdict)))
    verdict.check()
    return 0
