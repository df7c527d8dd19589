"""What a substation tells its balancers by itself: `{"substation", "report"}`. Must not know what is made of it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from config.problems import FieldFault, bad_fields, not_json
from config.report import Report
from services.problem import ProblemError


@dataclass(frozen=True, slots=True)
class Push:
    """The report of the substation that is called so."""

    substation: str
    report: Report


def read_push(body: bytes) -> Push:
    """The push in `body`; ProblemError (400, 422) where it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProblemError(not_json("the body is not JSON")) from error
    if not isinstance(found, dict):
        raise _bad("", "a JSON object was expected")
    substation, text = found.get("substation"), found.get("report")
    if not isinstance(substation, str):
        raise _bad("substation", "must be a substation's name")
    if not isinstance(text, str):
        raise _bad("report", "must be a report, as in the header Grid-Report")
    try:
        return Push(substation, Report.decode(text))
    except ValueError as error:
        raise _bad("report", str(error)[:200]) from error


def _bad(field: str, message: str) -> ProblemError:
    return ProblemError(bad_fields((FieldFault(field, message),)))
