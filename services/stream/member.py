"""One that is asked on a stream, until it is answered. Must not know how it is carried, nor what is asked."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable

from config.problems import Problem
from services.problem import to_json
from services.stream.wire import Call
from services.tracing import Span

_log = logging.getLogger(__name__)


class Answering(ABC):
    """Where a member's answer goes."""

    @abstractmethod
    def answered(self, member: Member, status: int, body: bytes, retry_after: str) -> None:
        """See `Member.answer`."""


class Member:
    """One that is asked: `body`, within `left_s` (wall seconds) from `began_s` (perf_counter), as part of `span`."""

    __slots__ = ("_answering", "answered", "began_s", "body", "call", "is_again", "left_s", "span")

    def __init__(self, call: Call, span: Span, answering: Answering, began_s: float) -> None:
        self.call = call
        self.body = call.body
        self.left_s = call.left_ms / 1000
        self.span = span
        self.began_s = began_s
        self.is_again = self.answered = False
        self._answering = answering

    def answer(self, status: int, body: bytes, retry_after: str = "") -> None:
        """Its answer, as over HTTP; to be called once, ever."""
        self.answered = True
        self.span.end(status)
        self._answering.answered(self, status, body, retry_after)

    def refuse(self, problem: Problem) -> None:
        """`answer` with a problem."""
        again = problem.all_headers().get("Retry-After", "")
        self.answer(problem.status, to_json(problem.body()), again)


def fail(members: Iterable[Member]) -> None:
    """Logs the exception that is being handled; those of `members` that have no answer get a 500."""
    _log.exception("failed to answer")
    for member in members:
        if not member.answered:
            member.refuse(failed())


def failed() -> Problem:
    """What one is answered where this service failed."""
    return Problem(500, "this service failed to answer; its log says why", "internal-error")
