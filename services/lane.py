"""Answers plain requests for a service's busiest paths, from whole bytes to whole bytes, with no application in between.

All is as in `services.http.application`: who may ask (by the head), spans, problems, the service's own headers. Must not
know connections, nor what any service does with a request.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus

from aiohttp import web

from config.access import LOCAL, Access
from services.gate import Gate
from services.heads import Head, Heads
from services.http import REFUSED, Handler, answered, internal_error
from services.problem import problem_response
from services.service import Asked, Frequented, Glanced, Instant, Listener, Service, Whole
from services.tracing import CURRENT, PassingTracer, Tracer
from services.traffic import Traffic

Answering = Callable[[Asked], Awaitable[web.Response]]

_log = logging.getLogger(__name__)


class Lane:
    """The fast lane of `service`, which has none where `paths` are empty."""

    def __init__(
        self,
        service: Service,
        traffic: Traffic,
        access: Access = LOCAL,
        tracer: Tracer | None = None,
        health: Answering | None = None,
    ) -> None:
        """`health` answers `GET /health`."""
        busy = service.frequented() if isinstance(service, Frequented) else {}
        looks = dict(service.glanced()) if isinstance(service, Glanced) else {}
        if health is not None:
            looks["/health"] = health
        self._handlers = {**busy, **looks}
        self._instant = service.instant() if isinstance(service, Instant) else {}
        self._heard = service.heard if isinstance(service, Listener) else None
        self._more = service.headers
        #: Where it stops, what comes goes the usual way, and its connection is closed.
        self.traffic = traffic
        self._tracer = tracer or PassingTracer()
        self._dates = Dates()
        self.heads = Heads(busy, Gate(access), looks)
        #: What answers all other requests; where a connection has another handler, its requests do not come here.
        self.plain: Handler | None = None

    def at_once(self, head: Head) -> bytes | None:
        """All bytes of the answer to a look that is answered by headers alone; None: it is for `answer`."""
        is_fine = self._instant.get(head.path) if head.method == "GET" and head.parent is None else None
        if is_fine is None or self.traffic.stopping:
            return None
        try:
            if self._heard is not None:
                self._heard(Whole(head.path, head.headers, b"", None, head.method))
            return self._said(204, self._more()) if is_fine() else None
        except Exception:  # noqa: BLE001  `answer` meets it again, and says what there is to say
            return None

    async def answer(self, head: Head, body: bytes) -> bytes:
        """All bytes of the answer to a request with `head` and `body`."""
        response = await answered(Whole(head.path, head.headers, body, head.parent, head.method), self._admitted)
        try:
            return self._encoded(response)
        except (TypeError, ValueError):
            _log.exception("failed to say an answer", extra={"method": head.method, "path": head.path})
            return self._encoded(problem_response(internal_error()))

    async def _admitted(self, whole: Whole) -> web.Response:
        if self._heard is not None:
            self._heard(whole)
        look = whole.method == "GET" and whole.parent is None
        CURRENT.set(None if look else self._tracer.begin(whole.method, whole.path, whole.parent))
        with self.traffic.request():
            return await self._handlers[whole.path](whole)

    def _encoded(self, response: web.StreamResponse) -> bytes:
        headers, status = response.headers, response.status
        if status not in REFUSED:
            headers.update(self._more())
        if self.traffic.stopping:
            headers["Connection"] = "close"
        body = (response.body or b"") if isinstance(response, web.Response) else b""
        if not isinstance(body, bytes):
            raise TypeError(f"a whole answer was expected, found {type(body).__name__}")
        return self._said(status, headers, body)

    def _said(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> bytes:
        lines = "".join([f"{name}: {_checked(value)}\r\n" for name, value in headers.items()])
        length = "" if status == 204 else f"Content-Length: {len(body)}\r\n"
        text = f"{_status_line(status)}{lines}{length}Date: {self._dates.now()}\r\n\r\n"
        return text.encode() + body


def _checked(value: str) -> str:
    """`value`, which must not end its line: ValueError where it could."""
    if not value.isprintable():
        raise ValueError("a header's value must be printable")
    return value


@functools.cache
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"


class Dates:
    """The header `Date`, made once a second."""

    def __init__(self) -> None:
        self._at_s = 0
        self._text = ""

    def now(self) -> str:
        """The time, as HTTP has it."""
        now_s = int(time.time())
        if now_s != self._at_s:
            self._at_s, self._text = now_s, formatdate(now_s, usegmt=True)
        return self._text
