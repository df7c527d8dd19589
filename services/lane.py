"""Answers plain requests for a service's busiest paths, from whole bytes to whole bytes, with no application in between.

All is as in `services.http.application`: who may ask (by the head), spans, problems, the service's own headers. Must not
know connections, nor what any service does with a request.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Final

from aiohttp import web

from config.access import LOCAL, Access
from services.gate import Gate
from services.heads import Head, Heads
from services.http import REFUSED, Handler, Wellbeing, answered, internal_error
from services.problem import problem_response, to_json
from services.service import Asked, Begin, Drop, Frequented, Glanced, Instant, Listener, Prompt, Service
from services.tracing import CURRENT, PassingTracer, Tracer
from services.traffic import Traffic
from services.whole import Whole

Answering = Callable[[Asked], Awaitable[web.Response]]

_JSON = {"Content-Type": "application/json"}

#: Unix time.
_now_s: Final = time.time

_log = logging.getLogger(__name__)


class Lane:
    """The fast lane of `service`, which has none where `paths` are empty."""

    def __init__(
        self,
        service: Service,
        traffic: Traffic,
        access: Access = LOCAL,
        tracer: Tracer | None = None,
        health: Wellbeing | None = None,
    ) -> None:
        """`health` answers `GET /health`."""
        busy = service.frequented() if isinstance(service, Frequented) else {}
        looks = dict(service.glanced()) if isinstance(service, Glanced) else {}
        if health is not None:
            looks["/health"] = health.answer
        self._handlers = {**busy, **looks}
        bare = service.instant() if isinstance(service, Instant) else {}
        self._instant: dict[str, Callable[[], bytes | None]] = {
            path: partial(self._bare, is_fine) for path, is_fine in bare.items()
        }
        if health is not None:
            self._instant["/health"] = partial(self._well, health)
        self._prompt: dict[str, Begin] = dict(service.prompt()) if isinstance(service, Prompt) else {}
        self._heard = service.heard if isinstance(service, Listener) else None
        self._more = service.headers
        #: Where it stops, what comes goes the usual way, and its connection is closed.
        self.traffic = traffic
        self._tracer = tracer or PassingTracer()
        self._dates = Dates()
        self._date = ""
        self._accepting: dict[int, bytes] = {}
        self.heads = Heads(busy, Gate(access), looks)
        #: What answers all other requests; where a connection has another handler, its requests do not come here.
        self.plain: Handler | None = None

    def at_once(self, head: Head) -> bytes | None:
        """All bytes of the answer to a look that takes neither waiting nor work; None: it is for `answer`."""
        say = self._instant.get(head.path) if head.method == "GET" and head.parent is None else None
        if say is None or self.traffic.stopping:
            return None
        try:
            if self._heard is not None:
                self._heard(Whole(head.path, head.headers, b"", None, head.method))
            return say()
        except Exception:  # noqa: BLE001  `answer` meets it again, and says what there is to say
            return None

    def _bare(self, is_fine: Callable[[], bool]) -> bytes | None:
        return self._said(204, self._more()) if is_fine() else None

    def _well(self, health: Wellbeing) -> bytes:
        status, said = health.now()
        return self._said(status, {**_JSON, **self._more()}, to_json(said))

    def begin(self, head: Head, body: bytes, hear: Callable[[bytes], None]) -> Begun | None:
        """Begins to answer without a task, all bytes of which `hear` is told later; None: it is for `answer`."""
        begin = self._prompt.get(head.path) if head.method == "POST" else None
        if begin is None:
            return None
        whole = Whole(head.path, head.headers, body, head.parent, head.method)
        begun = Begun(self, hear)
        try:
            if self._heard is not None:
                self._heard(whole)
            drop = begin(whole, self._tracer, begun.tell)
        except Exception:  # noqa: BLE001  `answer` meets it again, and says what there is to say
            return None
        if drop is None:
            return None
        begun.is_begun(drop)
        return begun

    def said(self, answer: bytes | web.Response) -> bytes:
        """All bytes of `answer`; see `services.service.Tell`."""
        if isinstance(answer, bytes) and not self.traffic.stopping and not self._more():
            return self._accepted(answer)
        response = web.Response(status=202, body=answer, headers=_JSON) if isinstance(answer, bytes) else answer
        return self._sure(response)

    async def answer(self, head: Head, body: bytes) -> bytes:
        """All bytes of the answer to a request with `head` and `body`."""
        return self._sure(
            await answered(Whole(head.path, head.headers, body, head.parent, head.method), self._admitted)
        )

    async def _admitted(self, whole: Whole) -> web.Response:
        if self._heard is not None:
            self._heard(whole)
        look = whole.method == "GET" and whole.parent is None
        CURRENT.set(None if look else self._tracer.begin(whole.method, whole.path, whole.parent))
        with self.traffic.request():
            return await self._handlers[whole.path](whole)

    def _sure(self, response: web.StreamResponse) -> bytes:
        try:
            return self._encoded(response)
        except (TypeError, ValueError):
            _log.exception("failed to say an answer", extra={"status": response.status})
            return self._encoded(problem_response(internal_error()))

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

    def _accepted(self, body: bytes) -> bytes:
        """`_said` of the JSON of a 202: within a second, all of one length have the same head."""
        date, length = self._dates.now(), len(body)
        if date is not self._date:
            self._date, self._accepting = date, {}
        head = self._accepting.get(length)
        if head is None:
            head = self._accepting[length] = self._said(202, _JSON, body)[: -length or None]
        return head + body

    def _said(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> bytes:
        lines = "".join([f"{name}: {_checked(value)}\r\n" for name, value in headers.items()])
        length = "" if status == 204 else f"Content-Length: {len(body)}\r\n"
        text = f"{_status_line(status)}{lines}{length}Date: {self._dates.now()}\r\n\r\n"
        return text.encode() + body


class Begun:
    """A request that is being answered without a task; it counts in the lane's traffic until `is_over`."""

    __slots__ = ("_drop", "_ended", "_hear", "_lane", "is_over")

    def __init__(self, lane: Lane, hear: Callable[[bytes], None]) -> None:
        self._lane = lane
        self._hear = hear
        self._drop: Drop | None = None
        self._ended: asyncio.Future[None] | None = None
        self.is_over = False

    def is_begun(self, drop: Drop) -> None:
        """It is, and counts from now on; `drop` ends it without an answer."""
        self._drop = drop
        self._lane.traffic.began(1)

    def tell(self, answer: bytes | web.Response) -> None:
        """See `services.service.Tell`."""
        if not self.is_over:
            self._end()
            self._hear(self._lane.said(answer))

    def _end(self) -> None:
        self.is_over = True
        self._drop = None  # it leads back here: else Python would have to look for both
        self._lane.traffic.ended(1)
        if self._ended is not None:
            self._ended.set_result(None)

    async def end(self, timeout_s: float | None) -> None:
        """Returns once it is answered; what is not, within so many wall seconds, is not to be answered any more."""
        if not self.is_over:
            self._ended = self._ended or asyncio.get_running_loop().create_future()
            await asyncio.wait({self._ended}, timeout=timeout_s)
        drop = self._drop
        if not self.is_over:
            self._end()
            if drop is not None:
                drop()


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
        now_s = int(_now_s())
        if now_s != self._at_s:
            self._at_s, self._text = now_s, formatdate(now_s, usegmt=True)
        return self._text
