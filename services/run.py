"""Runs one service on a socket that already listens, in this process; must not know who started it or why."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import random
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import otel
from config.access import LOCAL, PATIENT, Access, Patience, Token
from config.errors import Invalid
from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from config.settings import Settings
from monitoring.metrics import ServiceMetrics
from services.clock import SystemClock
from services.logs import LogFile, log_by, set_up
from services.service import READY, Crew, Service
from services.tracing import PassingTracer, Tracer

if TYPE_CHECKING:
    from services.serving import Stage
    from services.worker import Worker

#: Where each role's `create(settings, clock, random, token) -> Service` lives; imported only when it is run.
MODULES = {
    SUBSTATION: "services.substation.service",
    BALANCER: "services.balancer.service",
    CHARGE_REQUEST: "services.charge_request.service",
}
#: Names the file that is this process's stdout and stderr, so that it can rotate it.
LOG_FILE_VARIABLE = "GRIDCTL_LOG_FILE"
#: So many objects more than before, and Python looks for garbage; its default is 700.
COLLECTED_AT = 10_000
#: Files and sockets that a service may have open, where the system allows so many.
MOST_FILES = 65_536
#: How OpenTelemetry's own variables are to be.
HOW_TO_SET = (
    "whole numbers above 0, a batch no larger than its queue; env | grep OTEL_ shows what is set: unset what is wrong"
)


def needs(environ: Mapping[str, str], role: str | None = None) -> list[str]:
    """The modules that a service of `role` needs (None: of any role), those for all first; no role of ours: none.

    A process that has imported them forks a service in milliseconds.
    """
    roles = [module for each, module in MODULES.items() if role in (None, each)]
    recording = ["services.otel"] if otel.is_wanted(environ) else []
    return ["services.serving", "services.worker", "uvloop", *recording, *roles] if roles else []


def create(role: str, settings: Settings, token: Token | None = None) -> Service:
    """The service of `role`, not yet started, which brings `token` to the grid's others; KeyError for an unknown role."""
    module = importlib.import_module(MODULES[role])
    make: Callable[..., Service] = module.create
    seed = getattr(settings, "seed", None)
    return make(settings, SystemClock(settings.time_scale), random.Random(seed), token)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A service that needs nothing more than an event loop, and a process of its own where its lines are logged."""

    stage: Stage
    spans: Tracer
    log: logging.Handler


def prepare(
    role: str, settings: Settings, access: Access = LOCAL, worker: Worker | None = None, version: str = "unknown"
) -> Prepared:
    """The service of `role`, and all that it is served with; Invalid, GridError where it cannot be had.

    The token of `access` is demanded, and brought to other services. A `worker` tells of itself on a socket of its own, and
    of all on the one that they share. `version`, gridctl's, is in metrics and spans. Spans go where OpenTelemetry's
    variables say. Takes over the process, as far as a fork hands that on: logging, the limit of open files, garbage.
    """
    from services.serving import Stage  # noqa: PLC0415  aiohttp's web side is wanted only where something is served

    raise_file_limit()
    collect_seldom()
    path = os.environ.get(LOG_FILE_VARIABLE)
    log_file = LogFile(Path(path)) if path else None
    log = set_up(settings.name, role, log_file)
    service = create(role, settings, access.token)
    if service.name != settings.name:
        log = set_up(service.name, role, log_file)  # it has taken another name, with a journal
    ServiceMetrics(service.registry, version, settings.time_scale, lambda: service.health().status in READY)
    spans = tracer(service.name, role, os.environ, version)
    return Prepared(Stage.of(service, access, spans, _crew(service, worker)), spans, log)


def _crew(service: Service, worker: Worker | None) -> Crew | None:
    if worker is None:
        return None
    from services.worker import Shift  # noqa: PLC0415  wanted only where there are several

    return Shift(service, worker)


def run(
    role: str,
    settings: Settings,
    sock: socket.socket,
    lifeline: socket.socket | None = None,
    access: Access = LOCAL,
    patience: Patience = PATIENT,
    worker: Worker | None = None,
    version: str = "unknown",
) -> int:
    """Prepares one service and lives its life; see `prepare` and `live`."""
    return live(prepare(role, settings, access, worker, version), sock, lifeline, access, patience)


def live(
    prepared: Prepared,
    sock: socket.socket,
    lifeline: socket.socket | None = None,
    access: Access = LOCAL,
    patience: Patience = PATIENT,
) -> int:
    """Runs one service until SIGTERM or SIGINT, answers what is in flight; the exit code is 0, or 130 for SIGINT.

    `sock` listens already; `lifeline` is the launcher's socket, whose end ends this process at once. Signals and the
    event loop are set up here; all else was `prepared`, in this process or, beside others, in one that it is a fork of.
    """
    from services.serving import perform  # noqa: PLC0415  as above

    log_by(prepared.log)
    try:
        with asyncio.Runner(loop_factory=event_loop()) as runner:
            received = runner.run(perform(prepared.stage, sock, lifeline, access, patience))
    finally:
        prepared.spans.close()
    return 130 if received is signal.SIGINT else 0


def tracer(name: str, role: str, environ: Mapping[str, str], version: str = "unknown") -> Tracer:
    """What begins the spans of the service `name`; Invalid where `environ` wants them recorded and that cannot be."""
    if not otel.is_wanted(environ):
        return PassingTracer()
    otel.demand(environ)
    try:
        from services.otel import RecordingTracer  # noqa: PLC0415  an extra, and slow

        return RecordingTracer(name, role, version)
    except ValueError as error:  # of some variables already at the import
        raise Invalid(f"OpenTelemetry cannot use one of its variables: {error}", HOW_TO_SET) from error


def raise_file_limit() -> None:
    """To what the system allows, within reason: the usual 1,024 are few with a thousand clients, or substations."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def collect_seldom() -> None:
    """Has Python look for garbage that refers to itself less often, and never in what was imported.

    A request makes none, and was looked at for it all the same: a fifth of what it cost at the charge-request service.
    What does make some, a connection or a poll, leaves at most so many objects behind: about 2 MB.
    """
    gc.freeze()
    gc.set_threshold(COLLECTED_AT, 20, 100)


def event_loop() -> Any:
    """What makes the event loop of a service; None: Python's own."""
    if sys.platform == "win32":
        return None
    uvloop = importlib.import_module("uvloop")
    return uvloop.new_event_loop
