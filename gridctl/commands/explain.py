"""`gridctl explain`: why a request went where it went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from config.errors import GridError, Invalid
from gridctl.commands.options import file_option, json_option, name_option

if TYPE_CHECKING:
    from gridctl.explain.story import Story


@click.command(short_help="Say why a request went where it went.")
@click.argument("request_id", metavar="REQUEST_ID")
@name_option
@file_option
@json_option
def command(request_id: str, name: str | None, file: Path | None, as_json: bool) -> int:
    """Say why a request went where it went.

    Who could be asked, what the balancer believed of each and how old that was, who refused, every attempt, and the
    sessions that came of it. Balancers remember their last 10,000 decisions; of older ones, and of a grid that is stopped,
    journals and logs tell what they hold. REQUEST_ID is in every answer to a charge request that was read.
    """
    from config.names import NAME_RULE, is_name  # noqa: PLC0415 - only what a verb needs is imported
    from gridctl.clusters import not_running, resolve  # noqa: PLC0415
    from gridctl.explain.display import lines  # noqa: PLC0415
    from gridctl.explain.sources import gather  # noqa: PLC0415

    if not is_name(request_id):
        raise Invalid(
            f"{request_id!r} is no request id",
            f"one is {NAME_RULE}; it is in every answer to a charge request that was read",
        )
    paths = resolve(name, file)
    if not paths.folder.is_dir():
        raise not_running(paths)
    story = gather(paths, request_id)
    if not story.known:
        raise _unknown(story, paths.name)
    click.echo(json.dumps(story.to_json(), indent=2) if as_json else "\n".join(lines(story)))
    return 0


def _unknown(story: Story, cluster: str) -> GridError:
    message = f"nobody in {cluster!r} knows of a request {story.request_id!r}"
    silent = [ring.balancer for ring in story.rings if ring.silent]
    asked = "balancers, journals and logs were asked" if story.rings else "it is stopped: journals and logs were read"
    unheard = f", but not {', '.join(silent)}" if silent else ""
    return GridError(message, f"{asked}{unheard}; the id is in the answer's request_id, or: gridctl logs")
