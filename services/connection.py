"""One HTTP connection: answers what is no HTTP with problem+json too, and has the patience that it is told to have.

aiohttp bounds a line, a header field and their number, how many requests wait in a pipeline, and how long a connection
is idle. It bounds neither how long a request takes to arrive nor how long an answer takes to be taken: that is done here.
Must not know any service.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.web_request import BaseRequest

from config.problems import CONTENT_TYPE, Problem
from services.problem import problem_response, to_json
from services.visits import Visits

#: A request's head may be so long altogether; one line and one field of it at most 8190 bytes (aiohttp's own bound).
MOST_HEAD_BYTES = 1 << 16
MOST_HEADERS = 100
#: After an answer to a request whose body was not read, so much of it is taken and thrown away (wall seconds).
LINGERING_S = 2.0
#: Who finds all connections taken may still ask this.
SPARED = "/health"

_DETAILS = {
    408: ("this request did not arrive in time", "too-slow"),
    431: ("the head of this request is too long", "too-large"),
    503: ("too many connections are open here", "too-many-connections"),
}

_log = logging.getLogger(__name__)


class Connection(web.RequestHandler):
    """aiohttp's connection, with its place among all `visits`; see the module."""

    __slots__ = ("_body", "_head_bytes", "_unfinished", "_visits")

    def __init__(self, server: web.Server, *, visits: Visits | None = None, **more: Any) -> None:
        self._visits = visits or Visits()
        self._unfinished = True
        self._body: StreamReader | None = None
        self._head_bytes = 0
        idle_s = self._visits.patience.idle_timeout_s
        bounds = {"keepalive_timeout": idle_s, "lingering_time": LINGERING_S, "max_headers": MOST_HEADERS}
        super().__init__(server, access_log=None, **{**bounds, **more})  # type: ignore[arg-type]  # None: no access log

    def handle_by(self, handler: Callable[[BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        """From its next request on `handler` answers; a connection that is closed stays so."""
        if self._request_handler is not None:
            self._request_handler = handler

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol; where too many are connected, only health is told."""
        super().connection_made(transport)
        if not self._visits.enter(self) and self._request_handler is not None:
            self._request_handler = _crowded(self._request_handler)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        self._visits.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol; notices when a request begins and when all of it has come."""
        count = self._request_count
        super().data_received(data)
        if self._upgraded and self._request_count == count:
            return  # no requests any more, but a stream
        if self._request_count != count:
            body = self._messages[-1][1] if self._messages else None
            self._body = None if body is None or body.is_eof() else body
            self._head_bytes = 0
            whole = self._body is None
        elif self._body is not None:
            whole = self._body.is_eof()
        elif data:
            whole = False
            self._head_bytes += len(data)
        else:
            return  # aiohttp goes on with what it has, and that was whole
        if whole is self._unfinished:
            self._note(whole)
        if self._head_bytes > MOST_HEAD_BYTES:
            self.send_away(431)

    def _note(self, whole: bool) -> None:
        self._unfinished = not whole
        if whole:
            self._body = None
            self._visits.finish(self)
        else:
            self._visits.begin(self)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        super().pause_writing()
        self._visits.clog(self)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        super().resume_writing()
        self._visits.flow(self)

    def send_away(self, status: int) -> bool:
        """See services.visits.Visit: a request that is being handled is answered first."""
        if self.transport is None:
            return True
        request = self._current_request
        if request is not None and (self._body is None or request.content is not self._body):
            return False
        nothing_said = self._body is None if request is None else request.writer.output_size == 0
        if nothing_said:
            self.transport.write(_raw(status))
        self.force_close()
        return True

    def cut(self) -> None:
        """See services.visits.Visit."""
        if self.transport is not None:
            self.transport.abort()

    def waiting_bytes(self) -> int:
        """See services.visits.Visit."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  aiohttp passes it; it may quote what a client sent
    ) -> web.StreamResponse:
        """The answer to what could not be parsed (400) or handled (500); ConnectionError where one was begun."""
        _log.warning("bad HTTP", extra={"status": status, "found": _kind(exc)})
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        detail = "this is not HTTP that can be understood" if status < 500 else "this service failed to answer"
        problem = Problem(status, detail, "bad-http" if status < 500 else "internal-error")
        response = _Nameless(status=status, body=to_json(problem.body()), content_type=CONTENT_TYPE)
        response.force_close()
        return response


class _Nameless(web.Response):
    """It passes no application, whose answers leave the versions out: they are nobody's business."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.pop("Server", None)


def _kind(error: BaseException | None) -> str:
    """What is wrong, without what was sent: aiohttp quotes that behind a colon, and a token may be in it."""
    said = str(getattr(error, "message", "")).partition(":")[0][:100]
    return f"{type(error).__name__} {said}".rstrip()


def _problem(status: int) -> Problem:
    detail, reason = _DETAILS[status]
    return Problem(status, detail, reason, retry_after_s=1.0 if status == 503 else None)


def _crowded(
    handle: Callable[[BaseRequest], Awaitable[web.StreamResponse]],
) -> Callable[[BaseRequest], Awaitable[web.StreamResponse]]:
    async def answer(request: BaseRequest) -> web.StreamResponse:
        response = await handle(request) if request.path == SPARED else problem_response(_problem(503))
        response.force_close()
        return response

    return answer


def _raw(status: int) -> bytes:
    """A whole answer, for who may not even have asked."""
    problem = _problem(status)
    body = to_json(problem.body())
    head = {
        **problem.all_headers(),
        "Content-Type": CONTENT_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
