"""RFC 9457 problems as plain values; must not know HTTP servers or who raises them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

#: The media type of RFC 9457, section 3.
CONTENT_TYPE = "application/problem+json"
#: Problem types are `urn:problem-type:gridctl:<reason>`; without a reason `about:blank` (RFC 9457, section 4.2.1).
TYPE_PREFIX = "urn:problem-type:gridctl:"


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One bad field: `field` is its dotted name ("" for the whole body), `found` what stood there, as JSON text."""

    field: str
    message: str
    found: str | None = None

    def to_json(self) -> dict[str, str]:
        """As it stands in a problem's `errors`."""
        named = {"field": self.field, "message": self.message}
        return named if self.found is None else {**named, "found": self.found}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request was not done. `reason` is a word for programs (`substation-full`), `detail` a sentence for people.

    `retry_after_s` (wall seconds, exact) goes into the body, and rounded up to whole seconds into `Retry-After`.
    `extra` are further members of the body, `headers` further HTTP headers.
    """

    status: int
    detail: str
    reason: str = ""
    errors: tuple[FieldFault, ...] = ()
    retry_after_s: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The problem+json object."""
        body: dict[str, Any] = {
            "type": f"{TYPE_PREFIX}{self.reason}" if self.reason else "about:blank",
            "title": title(self.status),
            "status": self.status,
            "detail": self.detail,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.errors:
            body["errors"] = [fault.to_json() for fault in self.errors]
        if self.retry_after_s is not None:
            body["retry_after_s"] = self.retry_after_s
        return {**body, **self.extra}

    def about(self, request_id: str) -> Problem:
        """The same, with the `request_id` of the charge request that it answers."""
        return replace(self, extra={**self.extra, "request_id": request_id})

    def all_headers(self) -> dict[str, str]:
        """`headers`, with `Retry-After` (whole seconds, rounded up, at least 1) where `retry_after_s` is set."""
        if self.retry_after_s is None:
            return dict(self.headers)
        return {"Retry-After": str(whole_seconds(self.retry_after_s)), **self.headers}


def whole_seconds(retry_after_s: float) -> int:
    """`retry_after_s` as `Retry-After` has it: rounded up, at least 1 (RFC 9110, section 10.2.3: an integer)."""
    return max(1, math.ceil(retry_after_s))


def title(status: int) -> str:
    """The status's own phrase; "Error" where HTTP knows none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def not_json(detail: str) -> Problem:
    """400: there was no body, or it is not JSON."""
    return Problem(400, detail, "not-json")


def too_large(detail: str) -> Problem:
    """413: more than 1 MiB of body, or an array of more than 1,000."""
    return Problem(413, detail, "too-large")


def bad_fields(errors: tuple[FieldFault, ...]) -> Problem:
    """422: the body is JSON, but these fields are not what they must be."""
    names = ", ".join(dict.fromkeys(fault.field or "body" for fault in errors))
    return Problem(422, f"bad request: {names}", "bad-fields", errors)
