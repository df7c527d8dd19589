"""A service's life, top to bottom: signals, start, serve, drain. Must not know which service, nor who listens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from config.access import LOCAL, PATIENT, Access, Patience
from monitoring.metrics import FaultMetrics
from services.express import Express
from services.faults import Switch
from services.http import Wellbeing, application
from services.lane import Lane
from services.lifeline import follow, obey_waiting
from services.service import Crew, Departing, Draining, Service, Taking
from services.tracing import PassingTracer, Tracer
from services.traffic import Traffic
from services.visits import Visits

#: A stopping service closes its connections once nothing came for this long (wall seconds): whoever keeps one is told to go
#: elsewhere by the answer to what it asks next. Where nobody is connected, nobody has to be told.
SILENCE_S = 0.3
#: Connections that wait in the kernel while the service is busy or restarts.
BACKLOG = 4096

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stage:
    """All that `service` is served with and that needs no event loop; it may be made before a fork, and served after it."""

    service: Service
    traffic: Traffic
    faults: Switch
    lane: Lane
    app: web.Application
    crew: Crew | None

    @classmethod
    def of(
        cls, service: Service, access: Access = LOCAL, tracer: Tracer | None = None, crew: Crew | None = None
    ) -> Stage:
        """`access` says to whom it answers; `tracer` may record what is done. It is one of the `crew`, if there is one."""
        traffic, faults = Traffic(), Switch()
        FaultMetrics(service.registry, faults.value)
        tracer = tracer or PassingTracer()
        lane = Lane(service, traffic, access, tracer, Wellbeing(service, crew, traffic))
        app = application(service, traffic, access, tracer, crew, faults.fate)
        app.freeze()  # nothing is added any more; whoever is forked later need not see to it
        return cls(service, traffic, faults, lane, app, crew)


async def serve(
    service: Service,
    sock: socket.socket,
    lifeline: socket.socket | None = None,
    access: Access = LOCAL,
    patience: Patience = PATIENT,
) -> signal.Signals:
    """As `perform`, with a stage of its own."""
    return await perform(Stage.of(service, access), sock, lifeline, access, patience)


async def perform(
    stage: Stage,
    sock: socket.socket,
    lifeline: socket.socket | None = None,
    access: Access = LOCAL,
    patience: Patience = PATIENT,
) -> signal.Signals:
    """Serves what is on `stage` on the listening `sock` until SIGTERM or SIGINT, which it returns once all is answered.

    `patience` is how long clients may take; one of a crew tells of itself to whom `access` says.

    The socket is closed here, never shut down: the launcher may hold it too, and new connections then wait for the
    next process. On SIGTERM a service that drains goes on until it has. A second signal ends any waiting.
    """
    signals = _signals()
    service, traffic, crew = stage.service, stage.traffic, stage.crew
    async with (
        _following(lifeline, stage.faults.ahead_of(service.command)),
        _running(service),
        contextlib.nullcontext() if crew is None else crew.working(access, patience),  # until nobody asks any more
        listening(stage, sock, patience) as (listener, visits),
    ):
        _log.info("listening", extra={"port": _port(sock)})
        received = await signals.get()
        if received is signal.SIGTERM and isinstance(service, Draining):
            await _before_signal(service.drain(), signals)
        _log.info("stopping", extra={"signal": received.name, "in_flight": traffic.in_flight})
        traffic.stop()
        listener.close()
        if isinstance(service, Departing):
            await service.depart()
        await _last_answers(traffic, visits, signals, service.stop_timeout_s)
    _log.info("stopped")
    return received


def _signals() -> asyncio.Queue[signal.Signals]:
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, signals.put_nowait, each)
    return signals


@contextlib.asynccontextmanager
async def listening(stage: Stage, sock: socket.socket, patience: Patience) -> AsyncIterator[tuple[Taking, Visits]]:
    """Within it, `sock` is answered on; its service was started, and is stopped, by somebody else."""
    runner = web.AppRunner(stage.app, access_log=None, shutdown_timeout=1.0)
    visits = Visits(patience, left=stage.traffic.left)
    await runner.setup()
    try:
        server = _server(runner)
        stage.lane.plain = server.request_handler
        listener = await _listen(server, stage.lane, sock, visits, stage.crew)
        try:
            with stage.faults.before(server, stage.traffic):
                yield listener, visits
        finally:
            listener.close()
    finally:
        await runner.cleanup()
        visits.close()


def _server(runner: web.AppRunner) -> web.Server:
    if runner.server is None:
        raise RuntimeError("the runner was not set up")
    return runner.server


async def _listen(server: web.Server, lane: Lane, sock: socket.socket, visits: Visits, crew: Crew | None) -> Taking:
    loop = asyncio.get_running_loop()

    def connection() -> Express:
        return Express(server, lane, visits=visits, loop=loop)

    if crew is not None:
        return crew.turns(sock, connection, lambda: visits.count)
    return await loop.create_server(connection, sock=sock, backlog=BACKLOG)


async def _last_answers(
    traffic: Traffic, visits: Visits, signals: asyncio.Queue[signal.Signals], limit_s: float
) -> None:
    await _before_signal(traffic.quiet(SILENCE_S, limit_s, lambda: visits.count == 0), signals)
    if traffic.in_flight:
        _log.warning("stopped with requests unanswered", extra={"in_flight": traffic.in_flight})


async def _before_signal(waiting: Coroutine[Any, Any, object], signals: asyncio.Queue[signal.Signals]) -> None:
    """Until `waiting` ended, or another signal came."""
    patient, impatient = asyncio.ensure_future(waiting), asyncio.ensure_future(signals.get())
    await asyncio.wait({patient, impatient}, return_when=asyncio.FIRST_COMPLETED)
    for task in (patient, impatient):
        task.cancel()
    if patient.done():
        patient.result()


@contextlib.asynccontextmanager
async def _running(service: Service) -> AsyncIterator[None]:
    await service.start()
    try:
        yield
    finally:
        await service.stop()


@contextlib.asynccontextmanager
async def _following(
    lifeline: socket.socket | None, command: Callable[[Mapping[str, Any]], None]
) -> AsyncIterator[None]:
    if lifeline is None:
        yield
        return
    obey_waiting(lifeline, command)
    task = asyncio.ensure_future(follow(lifeline, command))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _port(sock: socket.socket) -> int | None:
    name = sock.getsockname()
    return int(name[1]) if isinstance(name, tuple) else None
