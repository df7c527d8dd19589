"""`gridctl serve ROLE`: one service alone, in the foreground; what a container runs. Must not know clusters."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from config import otel
from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from gridctl import __version__
from gridctl.serve.access import ACCESS, PATIENCE, access_of, patience_of
from gridctl.serve.listening import listening_socket, resolve, url_of
from gridctl.serve.settings import LISTENING, SETTINGS, Given, Setting, settings_of

if TYPE_CHECKING:
    from config.settings import Settings
    from services.worker import Worker

_ALL = (*LISTENING, *ACCESS, *PATIENCE, *SETTINGS)


def _with_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    for setting in reversed(_ALL):
        option = click.option(
            setting.flag,
            setting.key,
            envvar=setting.variable,
            show_envvar=True,
            metavar=setting.metavar,
            help=setting.text,
        )
        function = option(function)
    return function


def _given(context: click.Context, texts: Mapping[str, str | None], known: Sequence[Setting]) -> dict[str, Given]:
    given = {}
    for setting in known:
        text = texts[setting.key]
        if text is None:
            continue
        by_flag = context.get_parameter_source(setting.key) is ParameterSource.COMMANDLINE
        given[setting.key] = Given(setting.flag if by_flag else setting.variable, text, by_flag)
    return given


@click.command(short_help="Run one service alone, in the foreground.")
@click.argument("role", metavar="ROLE", type=click.Choice([CHARGE_REQUEST, BALANCER, SUBSTATION]))
@_with_flags
@click.pass_context
def command(context: click.Context, /, role: str, **texts: str | None) -> int:
    """Run one service in the foreground until Ctrl-C or SIGTERM: charge-request, balancer or substation.

    Each flag can be set in the environment instead. The log goes to stderr, as JSON lines unless that is a terminal.

    An address that other machines can reach needs a token, in a file (--token-file) or in GRIDCTL_TOKEN. Every request
    must then bring it (Authorization: Bearer …), and the service brings it to the grid's other services.
    """
    given = _given(context, texts, _ALL)
    settings, host, port = settings_of(role, given)
    place, patience = resolve(host, port), patience_of(given)
    access = access_of(given, os.environ, place.ip)
    otel.demand(os.environ)
    sock = listening_socket(place)
    from services.run import run  # noqa: PLC0415  aiohttp is wanted only once there is something to run

    click.echo(f"{settings.name} ({role}) listens on {url_of(sock)}")
    serve = partial(run, role, access=access, patience=patience, version=__version__)
    number = getattr(settings, "workers", 1)
    return serve(settings, sock) if number == 1 else _serve_by_several(role, number, settings, sock, serve)


def _serve_by_several(
    role: str, number: int, settings: Settings, sock: socket.socket, serve: Callable[..., int]
) -> int:
    from config.plan import numbered  # noqa: PLC0415  for several only
    from gridctl.serve.crew import Crew  # noqa: PLC0415  likewise

    def start(worker: Worker, lifeline: socket.socket) -> int:
        return serve(replace(settings, name=numbered(settings.name, worker.number)), sock, lifeline, worker=worker)

    return Crew(number, start).run(role)
