"""What a substation's answer to an attempt means. Pure: must not know how it was asked, nor the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import from_json

from config.problems import CONTENT_TYPE
from config.report import HEADER, MISDIRECTED, Report
from services.balancer.result import Result
from services.balancer.targets import Target

#: Whoever answers so may have begun a session before it failed, or a proxy did not wait for what came of it.
_BROKEN = frozenset({500, 502, 504})


#: The usual one; to look it up in its class costs several times as much.
ACCEPTED: Final = Result.ACCEPTED
_NOTHING: Final[dict[str, Any]] = {}


class Answer:
    """The end of one attempt: `result`, the report and the JSON object that came with it, which nobody changes."""

    __slots__ = ("body", "detail", "report", "result")

    def __init__(
        self, result: Result, report: Report | None = None, body: dict[str, Any] = _NOTHING, detail: str = ""
    ) -> None:
        self.result = result
        self.report = report
        self.body = body
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Page:
    """A substation's metrics page: its report where it sends one, else the page's text."""

    report: Report | None
    text: str


def report_of(headers: Mapping[str, str]) -> Report | None:
    """The report in an answer's headers; None where there is none, or none that can be true."""
    text = headers.get(HEADER)
    if text is None:
        return None
    try:
        return Report.decode(text)
    except ValueError:
        return None


def answer_of(target: Target, status: int, report: Report | None, body: bytes) -> Answer:
    """What became of an attempt at `target` that was answered so."""
    said = object_of(body)
    if status == 202 and not target.external and "reason" not in said:  # the usual one
        return Answer(ACCEPTED, report, said, "answered 202")
    return _otherwise(target, status, report, said)


def _otherwise(target: Target, status: int, report: Report | None, said: dict[str, Any]) -> Answer:
    if status == MISDIRECTED and target.learned:  # the report is another substation's
        return Answer(Result.CLOSED, detail="whoever is there is not meant (421)")
    if target.external:
        return Answer(_foreign(status), report, said, f"answered {status}")
    reason = said.get("reason")
    if status in _BROKEN:
        return Answer(Result.UNKNOWN, report, said, f"answered {status}")
    if status == 410 and reason == "fenced":
        return Answer(Result.FENCED, report, said, "answered 410 fenced")
    if status == 503 and reason == "substation-full":
        return Answer(Result.FULL, report, said)
    detail = f"answered {status} {reason}" if reason else f"answered {status}"
    return Answer(_KNOWN.get(status, Result.CLOSED), report, said, detail)


_KNOWN = {202: Result.ACCEPTED, 409: Result.TAKEN, 410: Result.REVOKED, 422: Result.NEVER}


def _foreign(status: int) -> Result:
    if 200 <= status < 300:
        return Result.ACCEPTED
    return Result.FULL if status in {429, 503} else Result.CLOSED


def is_unknown(status: int, content_type: str) -> bool:
    """Whether a substation says that it knows no such session; a 404 of anybody else is no problem+json."""
    return status == 404 and content_type == CONTENT_TYPE


def object_of(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; empty where it holds something else."""
    try:
        found = from_json(body) if body else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
