"""What a balancer's answers are to a client, and what is said where there is none. Must not know how a balancer is asked."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web
from pydantic_core import SchemaValidator, core_schema
from pydantic_core import from_json as decoded

from config.messages import BALANCER_STATUSES
from config.problems import CONTENT_TYPE, Problem
from services.problem import from_json, problem_response, to_json

#: What another balancer may be able to do: this one takes over from another, or cannot read its journal.
_ELSEWHERE = frozenset({"recovering", "journal-newer", "journal-corrupt"})
#: Makes nothing of what an object holds: that would take twice as long.
_parse: Final = SchemaValidator(core_schema.typed_dict_schema({})).validate_json


class Reply:
    """A balancer's answer, as it came: `body` is a JSON object, from `status` 400 on a problem (RFC 9457)."""

    __slots__ = ("_said", "body", "retry_after", "status")

    def __init__(self, status: int, body: bytes, said: dict[str, Any] | None, retry_after: str | None = None) -> None:
        """`said` is None where it was not decoded yet, and can be."""
        self.status = status
        self.body = body
        self._said = said
        self.retry_after = retry_after

    @property
    def said(self) -> dict[str, Any]:
        """What the JSON `body` holds."""
        if self._said is None:
            self._said = decoded(self.body)
        return self._said

    @property
    def content_type(self) -> str:
        """What `body` is."""
        return "application/json" if self.status < 400 else CONTENT_TYPE

    @property
    def reason(self) -> str:
        """Why it was not done; "" where the answer gives no reason."""
        found = self.said.get("reason", "")
        return found if isinstance(found, str) else ""

    @property
    def is_passing(self) -> bool:
        """Whether another balancer may do what this one cannot yet."""
        return self.status == 503 and self.reason in _ELSEWHERE


class NoReplyError(Exception):
    """A try brought nothing that can be passed on; `problem` is what to say of it, None where it was not even sent."""

    def __init__(self, detail: str, problem: Problem | None = None) -> None:
        super().__init__(detail)
        self.problem = problem


class BadReplyError(NoReplyError):
    """It was answered, and so badly that the same balancer would only do so again."""


def read_reply(status: int, wait: str, body: bytes, is_passed_on: bool = False) -> Reply:
    """What was answered, as a reply; a `BadReplyError` where it is none that a balancer gives.

    Of one that `is_passed_on` as it came, numbers may be larger than we would write; it is decoded where one asks for it.
    """
    if status not in BALANCER_STATUSES:
        raise bad(f"with status {status}")
    again = wait if wait.isascii() and wait.isdigit() else None
    if is_passed_on and _is_object(body):
        return Reply(status, body, None, again)
    try:
        said = decoded(body, allow_inf_nan=False) if is_passed_on else from_json(body)
    except ValueError as error:
        raise bad(f"with status {status} and no JSON") from error
    if not isinstance(said, dict):
        raise bad(f"with status {status} and JSON that says nothing")
    return Reply(status, body, said, again)


def _is_object(body: bytes) -> bool:
    """Whether `body` is a JSON object, by its syntax; False also where it says what may be no JSON."""
    if b"NaN" in body or b"Infinity" in body:
        return False
    try:
        _parse(body)
    except ValueError:
        return False
    return True


def silent() -> Problem:
    """504: it was sent, and not answered in time."""
    detail = "the balancer did not answer in time; the same request_id may be sent again"
    return Problem(504, detail, "balancer-silent", retry_after_s=1.0)


def busy() -> Problem:
    """503: it was not even put behind others."""
    return Problem(503, "too many requests are waiting for the balancer", "busy", retry_after_s=1.0)


def unreachable() -> Problem:
    """503: nobody was there to be asked."""
    return Problem(503, "no balancer could be connected to in time", "balancer-unreachable", retry_after_s=1.0)


def bad(how: str) -> BadReplyError:
    """A balancer answered `how`, which none should."""
    detail = f"the balancer failed: it answered {how}"
    return BadReplyError(detail, Problem(503, detail, "balancer-failed", retry_after_s=1.0))


def named(reply: Reply | Problem, request_id: str) -> Reply | Problem:
    """`reply` with the `request_id` where it is a problem: a balancer that did not read the request knows none."""
    if isinstance(reply, Problem):
        return reply.about(request_id)
    if reply.status < 400 or "request_id" in reply.said:
        return reply
    said = {**reply.said, "request_id": request_id}
    return Reply(reply.status, to_json(said), said, reply.retry_after)


def element(reply: Reply | Problem) -> dict[str, Any]:
    """`reply` in the answer to an array."""
    return {"status_code": reply.status, **(reply.body() if isinstance(reply, Problem) else reply.said)}


def passed_on(reply: Reply | Problem) -> web.Response:
    """`reply` over HTTP."""
    if isinstance(reply, Problem):
        return problem_response(reply)
    headers = {} if reply.retry_after is None else {"Retry-After": reply.retry_after}
    return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type, headers=headers)
