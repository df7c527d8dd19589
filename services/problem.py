"""Problems as HTTP answers; must not know which service refuses what."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from config.problems import CONTENT_TYPE, Problem


class ProblemError(Exception):
    """Ends a handler with `problem`; the server's middleware answers it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def problem_response(problem: Problem) -> web.Response:
    """`problem` as application/problem+json, with its headers (`Retry-After`, `Allow`)."""
    response = web.Response(status=problem.status, body=to_json(problem.body()), headers=problem.all_headers())
    response.content_type = CONTENT_TYPE
    return response


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """`body` as compact JSON."""
    return web.Response(status=status, body=to_json(body), content_type="application/json", headers=headers)


def to_json(body: Any) -> bytes:
    """Compact JSON; ValueError where a number is not finite (never sent, since it is not JSON)."""
    return _COMPACT.encode(body).encode()


def from_json(text: bytes) -> Any:
    """What the JSON `text` holds; ValueError where it is none, is nested too deeply, or holds what `to_json` refuses."""
    try:
        return _STRICT.decode(text.decode())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:20]} is no number of JSON")
    return number


_COMPACT = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_STRICT = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)


def from_http_error(error: web.HTTPException) -> Problem:
    """What aiohttp itself refuses (no such route, wrong method, too large …) as a Problem."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(405, f"{error.method} is not allowed here; allowed: {allowed}", headers={"Allow": allowed})
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return Problem(413, "the body is too large; at most 1 MiB is taken", "too-large")
    if isinstance(error, web.HTTPNotFound):
        return Problem(404, "there is nothing at this path")
    return Problem(error.status, error.text or error.reason)
