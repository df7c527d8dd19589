"""Which trace a piece of work belongs to: W3C Trace Context (level 1), taken, made and passed on.

Each request that a service takes is a span, and so is each that it sends for it; their ids go on in `traceparent`, into log
lines and into exemplars. Whoever records spans (services/otel.py) brings a tracer. Must not know who that is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextvars import Context, ContextVar
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:  # verbs that read journals import this file: it must not cost them anything
    from multidict import CIMultiDict, CIMultiDictProxy

    from monitoring.quick import Durations

    Headers = CIMultiDictProxy[str] | CIMultiDict[str]

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
#: Attributes of spans, by OpenTelemetry's conventions where there is one.
METHOD = "http.request.method"
ROUTE = "http.route"
REQUEST = "grid.request_id"
SUBSTATION = "grid.substation"
PEER = "url.full"
#: The span whose work is being done here, and the request that it is about.
CURRENT: ContextVar[Span | None] = ContextVar("span", default=None)
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")

#: Section 3.2.2: a version, two ids, flags; a later version may say more behind another dash.
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
#: The last digit of the flags where the first bit is set: somebody records this trace.
_SAMPLED = frozenset("13579bdf")
#: Section 3.3.1.3: a key, and a value that does not end with a blank.
_MEMBER = re.compile(
    r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_MOST_MEMBERS = 32
#: At least so much must be passed on (section 3.3.1.5); of more, nothing is.
_MOST_STATE = 4096

_NONE: Mapping[str, str] = {}


class Parent:
    """The span of whoever asks, as its headers say: ids in lower-case hex, and what vendors wrote into `state`."""

    __slots__ = ("sampled", "span_id", "state", "trace_id")

    def __init__(self, trace_id: str, span_id: str, sampled: bool, state: str = "") -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.sampled = sampled
        self.state = state

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parent) and self._said() == other._said()

    def __hash__(self) -> int:
        return hash(self._said())

    def _said(self) -> tuple[str, str, bool, str]:
        return self.trace_id, self.span_id, self.sampled, self.state


def parent_of(headers: Headers) -> Parent | None:
    """Who asks, by `traceparent` and `tracestate`; None where there is no such header, several, or one that cannot be.

    A `tracestate` that cannot be is left out alone.
    """
    if TRACEPARENT not in headers:
        return None
    found = headers.getall(TRACEPARENT)
    if len(found) != 1:
        return None
    state = ",".join(headers.getall(TRACESTATE)) if TRACESTATE in headers else ""
    return parent_in(found[0].strip(" \t"), state)


def parent_in(traceparent: str, state: str) -> Parent | None:
    """Who asks, by one `traceparent` and a `tracestate` ("": none); None where the former cannot be."""
    parts = _PARENT.fullmatch(traceparent)
    if parts is None:
        return None
    version, trace_id, span_id, flags, more = parts.groups()
    if version == "ff" or (version == "00" and more) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return Parent(trace_id, span_id, flags[1] in _SAMPLED, state_of([state]) if state else "")


def state_of(texts: list[str]) -> str:
    """The one `tracestate` that several headers say together; "" where it cannot be."""
    members = [member.strip(" \t") for text in texts for member in text.split(",")]
    members = [member for member in members if member]
    joined = ",".join(members)
    keys = {member.partition("=")[0] for member in members}
    good = len(members) <= _MOST_MEMBERS and len(keys) == len(members) and len(joined) <= _MOST_STATE
    return joined if good and all(_MEMBER.fullmatch(member) for member in members) else ""


class Span:
    """A piece of work in a trace; this one is only passed on, and recorded nowhere."""

    __slots__ = ("_rng", "_span_id", "sampled", "state", "trace_id")

    def __init__(self, trace_id: str, sampled: bool, state: str, rng: Random) -> None:
        self.trace_id = trace_id
        self._span_id = ""
        self.sampled = sampled
        self.state = state
        self._rng = rng

    @property
    def span_id(self) -> str:
        """16 hex digits; of one that nobody is told, and that logs nothing, none are made."""
        if not self._span_id:
            self._span_id = (self._rng.getrandbits(64) or 1).to_bytes(8, "big").hex()
        return self._span_id

    def child(self, name: str, attributes: Mapping[str, str]) -> Span:  # noqa: ARG002  for those that are recorded
        """A request `name` that is sent to another service for this work."""
        return Span(self.trace_id, self.sampled, self.state, self._rng)

    def end(self, status: int | None) -> None:
        """It was answered with the HTTP `status`; None: not at all."""

    def headers(self) -> dict[str, str]:
        """What tells the next service."""
        headers = {TRACEPARENT: f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"}
        return {**headers, TRACESTATE: self.state} if self.state else headers


class Tracer(Protocol):
    """Begins a span for each request that a service takes."""

    def begin(self, method: str, route: str, parent: Parent | None) -> Span:
        """The span of a request that `parent` sent; of a new trace where it is None."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


class PassingTracer:
    """Records nothing, so traces that begin here are not sampled; those of others go on as they came."""

    def __init__(self, rng: Random | None = None) -> None:
        self._rng = rng or Random()

    def begin(self, method: str, route: str, parent: Parent | None) -> Span:  # noqa: ARG002  not recorded
        """See `Tracer.begin`."""
        if parent is None:
            trace_id = (self._rng.getrandbits(128) or 1).to_bytes(16, "big").hex()  # quicker than a format
            return Span(trace_id, False, "", self._rng)
        return Span(parent.trace_id, parent.sampled, parent.state, self._rng)

    def close(self) -> None:
        """Nothing is open."""


class Hop:
    """A request `name` to another service, for the work that is being done here; `headers` go with it.

    A context manager; set `status` once it is answered. Where no span's work is done, nothing happens.
    """

    __slots__ = ("_span", "headers", "status")

    def __init__(self, name: str, attributes: Mapping[str, str] = _NONE) -> None:
        current = CURRENT.get()
        self._span = None if current is None else current.child(name, attributes)
        self.headers: Mapping[str, str] = {} if self._span is None else self._span.headers()
        self.status: int | None = None

    def end(self, status: int | None) -> None:
        """It was answered with the HTTP `status`; None: not at all. For who does not use it as a context manager."""
        if self._span is not None:
            self._span.end(status)

    def __enter__(self) -> Hop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end(self.status)


def about() -> dict[str, str]:
    """`request_id` and `trace_id` of what is being worked on here; what is not known has no key."""
    return about_of(CURRENT.get(), REQUEST_ID.get())


def about_of(span: Span | None, request_id: str) -> dict[str, str]:
    """`about`, of this work."""
    found = {"request_id": request_id} if request_id else {}
    return found if span is None else {**found, "trace_id": span.trace_id}


def route_of(path: str) -> str:
    """`path` as the services name it, without what it is about."""
    return "/requests/{request_id}" if path.startswith("/requests/") else path.partition("?")[0]


class Timed:
    """Observes in `durations` how long the block within took (wall seconds).

    Its exemplar leads to the request and its trace: at most 114 of the 128 characters that OpenMetrics allows.
    """

    __slots__ = ("_began_s", "_durations")

    def __init__(self, durations: Durations) -> None:
        self._durations = durations

    def __enter__(self) -> None:
        self._began_s = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._durations.observe(time.perf_counter() - self._began_s, about)


def apart() -> Context:
    """The context of what is begun during a request and does not belong to it: for tasks and timers."""
    return Context()
