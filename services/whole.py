"""A request of which all is here, and the one message in its body. Must not know connections, nor what is done with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from multidict import CIMultiDictProxy, istr
from pydantic import ValidationError

from config.messages import ChargeRequest
from config.names import is_name
from services.tracing import Parent

#: Sets a single request's `request_id`; refused with an array. (An `istr`: else each look at headers makes one of it.)
IDEMPOTENCY_KEY: Final = istr("Idempotency-Key")
_validated: Final[Callable[[bytes], ChargeRequest]] = ChargeRequest.__pydantic_validator__.validate_json


class Whole:
    """A request that came whole: a `POST` of JSON to `path`, all of its `body` is here, or a look at it (`GET`, no body).

    `parent` is the span of whoever asks.
    """

    __slots__ = ("body", "headers", "method", "parent", "path")

    def __init__(
        self, path: str, headers: CIMultiDictProxy[str], body: bytes, parent: Parent | None, method: str = "POST"
    ) -> None:
        self.path = path
        self.headers = headers
        self.body = body
        self.parent = parent
        self.method = method


def read_one(request: Whole) -> tuple[ChargeRequest, str | None, str | None] | None:
    """The one charge request in the body of `request`, its own `request_id`, and what the header `Idempotency-Key` gives.

    None where there is none, or several, or anything is wrong: `services.http.read_messages` says what.
    """
    body = request.body
    if not body.startswith(b"{") and body.lstrip().startswith(b"["):
        return None
    try:  # as `config.messages.read_message`, which makes a problem of it
        item = _validated(body)
    except ValidationError:
        return None
    own, key = item.request_id, request.headers.get(IDEMPOTENCY_KEY)
    return (item, own, key) if key is None or (is_name(key) and (own is None or own == key)) else None
