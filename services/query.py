"""What stands in a request's query string; must not know what it is for."""

from __future__ import annotations

import math

from aiohttp import web

from config.problems import FieldFault, bad_fields
from services.problem import ProblemError


def number(request: web.Request, name: str, default: float) -> float:
    """The number 0 to 1e12 that stands in the query as `name`, else `default`; ProblemError (422) for anything else."""
    text = request.query.get(name)
    if text is None:
        return default
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found <= 1e12:
        raise ProblemError(bad_fields((FieldFault(name, "must be a number, 0 to 1e12", text[:80]),)))
    return found
