"""One HTTP connection; answers what is no HTTP with problem+json too. Must not know any service."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_request import BaseRequest

from config.problems import Problem
from services.problem import problem_response

_log = logging.getLogger(__name__)


class Connection(web.RequestHandler):
    """aiohttp's connection, except that bytes that are no HTTP get a problem+json answer and one log line."""

    __slots__ = ()

    def handle_by(self, handler: Callable[[BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        """From its next request on `handler` answers; a connection that is closed stays so."""
        if self._request_handler is not None:
            self._request_handler = handler

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  aiohttp passes it; it may quote what a client sent
    ) -> web.StreamResponse:
        """The answer to what could not be parsed (400) or handled (500); ConnectionError where one was begun."""
        _log.warning("bad HTTP", extra={"status": status, "found": repr(exc)[:200]})
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        detail = "this is not HTTP that can be understood" if status < 500 else "this service failed to answer"
        response = problem_response(Problem(status, detail, "bad-http" if status < 500 else "internal-error"))
        response.force_close()
        return response
