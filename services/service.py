"""What every service is to the code that runs it; must not know any particular service, HTTP servers or processes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from config.access import Access, Patience
from services.tracing import Tracer
from services.whole import Whole

#: What a service says of itself; `stopping` is said for it by whoever runs it.
Status = Literal["ok", "starting", "draining", "degraded"]

#: The statuses of one that does its work; the others are answered 503.
READY: frozenset[Status] = frozenset({"ok", "draining"})


@dataclass(frozen=True, slots=True)
class Health:
    """A service's own view of its health; `fields` join the JSON.

    `starting` and `degraded` (it lives and cannot do its work; `detail` says why) are answered 503, the rest 200. `blank`:
    it does not know its own figures yet, so `/metrics` is 503 too.
    """

    status: Status = "ok"
    fields: Mapping[str, Any] = field(default_factory=dict)
    blank: bool = False


#: What a service is asked: a request as aiohttp has it, or a whole one.
Asked = web.Request | Whole


@runtime_checkable
class Frequented(Protocol):
    """A service with paths that are asked so often that it matters what a request costs."""

    def frequented(self) -> Mapping[str, Callable[[Asked], Awaitable[web.Response]]]:
        """What answers a `POST` to each such path; the same as its routes say. Called once, before `start`."""


@runtime_checkable
class Glanced(Protocol):
    """A service that is looked at so often that it matters what a look costs."""

    def glanced(self) -> Mapping[str, Callable[[Asked], Awaitable[web.Response]]]:
        """What answers a `GET` of each such path, which nothing else answers to. Called once, before `start`."""


@runtime_checkable
class Instant(Protocol):
    """A service that says all it has to say to some looks in the headers of each answer."""

    def instant(self) -> Mapping[str, Callable[[], bool]]:
        """Whether a `GET` of each such path, one of `glanced`, is answered 204 now; must neither block nor raise."""


#: Told what a request is answered: the JSON of a 202, or any other answer. Once, after it was begun; it must not raise.
Tell = Callable[[bytes | web.Response], None]
#: Nobody waits for the answer any more; to be called once, unless it was told.
Drop = Callable[[], None]
#: Begins to answer a request; None, and nothing was done, where that is not so simple. Must not block.
Begin = Callable[[Whole, Tracer, Tell], Drop | None]


@runtime_checkable
class Prompt(Protocol):
    """A service that answers the usual request without a task for it."""

    def prompt(self) -> Mapping[str, Begin]:
        """What begins to answer a `POST` to each such path, one of `frequented`, and begins and ends its span."""


@runtime_checkable
class Listener(Protocol):
    """A service that wants to know who asks it."""

    def heard(self, request: Asked) -> None:
        """Called for each request before it is answered; must not block. ProblemError: it is answered that."""


@runtime_checkable
class Departing(Protocol):
    """A service that gives something up before it answers the last requests."""

    async def depart(self) -> None:
        """Called once it is to stop; requests may come until all is answered. Must end within about a second."""


@runtime_checkable
class Draining(Protocol):
    """A service that takes nothing new for a while before it stops, and goes on with what it has."""

    async def drain(self) -> None:
        """Called on SIGTERM while all is still served; returns once nothing is left to go on with, or its time is over."""


class Figures(Protocol):
    """What can be written down as metrics."""

    def collect(self) -> Iterable[Metric]:
        """Every metric, as it stands now."""


class Taking(Protocol):
    """What takes connections from a listening socket until it is closed."""

    def close(self) -> None:
        """Takes no more of them; may be called twice."""


class Crew(Protocol):
    """The workers that answer on one port, as the one sees them that is asked."""

    def health(self) -> Health:
        """Of all of them."""

    async def figures(self) -> Figures:
        """What all of them counted."""

    def turns(
        self, sock: socket.socket, connection: Callable[[], asyncio.Protocol], count: Callable[[], int]
    ) -> Taking:
        """Takes connections from the listening `sock`, so that each worker has as many; `count` says how many it has."""

    def working(self, access: Access, patience: Patience) -> AbstractAsyncContextManager[None]:
        """Within it, this one is one of them."""


class Service(Protocol):
    """One service, ready to be served by `services.serving.serve`.

    The server adds `/health` and `/metrics` (from `health()` and `registry`), problem+json for every error, and
    `headers()` to every answer; a service brings only its own routes.
    """

    @property
    def name(self) -> str:
        """The process's name, as in `ps`."""

    @property
    def role(self) -> str:
        """One of config.names: charge-request, balancer, substation."""

    @property
    def registry(self) -> CollectorRegistry:
        """This service's own metrics; nothing is registered globally."""

    @property
    def stop_timeout_s(self) -> float:
        """Wall seconds that requests in flight may still take once the service stops (usually the request timeout)."""

    def routes(self) -> Sequence[web.RouteDef]:
        """Its routes, without `/health` and `/metrics`. Called once, before `start`."""

    def headers(self) -> Mapping[str, str]:
        """Headers that every answer carries, computed when the answer is sent; may be empty."""

    def health(self) -> Health:
        """How it is; called for each `GET /health`, in the event loop, and must not block."""

    def command(self, order: Mapping[str, Any]) -> None:
        """Does what the launcher asks over the lifeline (`{"do": "drain"}`); an unknown verb is ignored."""

    async def start(self) -> None:
        """Starts clients and background tasks; runs in the event loop, before the first request is taken."""

    async def stop(self) -> None:
        """Ends what `start` began; runs after the last answer was sent."""
