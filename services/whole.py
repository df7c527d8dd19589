"""A request of which all is here, and the one message in its body. Must not know connections, nor what is done with it."""

from __future__ import annotations

from typing import TypeVar

from multidict import CIMultiDictProxy, istr
from pydantic import ValidationError

from config.messages import ChargeRequest
from config.names import is_name
from services.tracing import Parent

Message = TypeVar("Message", bound=ChargeRequest)

#: Sets a single request's `request_id`; refused with an array. (An `istr`: else each look at headers makes one of it.)
IDEMPOTENCY_KEY = istr("Idempotency-Key")


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


def read_one(request: Whole, model: type[Message]) -> tuple[Message, str | None] | None:
    """The one message in the body of `request`, and the `request_id` that it has, or the header `Idempotency-Key` gives it.

    None where there is none, or several, or anything is wrong: `services.http.read_messages` says what.
    """
    body = request.body
    if not body.startswith(b"{") and body.lstrip().startswith(b"["):
        return None
    try:  # as `config.messages.read_message`, which makes a problem of it
        item: Message = model.__pydantic_validator__.validate_json(body)
    except ValidationError:
        return None
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is None:
        return item, item.request_id
    return (item, key) if is_name(key) and item.request_id in (None, key) else None
