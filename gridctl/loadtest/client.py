"""What came of one POST /charge; must not know how it was sent, or when. An error is data here, never an exception.

Works with any server that has POST /charge: answers are judged by status first, by their fields where there are any.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

from gridctl.loadtest.arrivals import Order

Kind = Literal["accepted", "refused", "failed"]

#: 503 and 429 that name one of these reasons, or none, say that there is no room; any other reason is a failure.
NO_ROOM = ("full", "draining", "over-capacity")


class Outcome(NamedTuple):
    """What a client got: `reason` says why not accepted; it is worded alike each time, so it can be counted.

    `substation` is `routed_to` where the answer has it; `status` None and `answer` "" where nothing came.
    """

    kind: Kind
    reason: str = ""
    substation: str | None = None
    status: int | None = None
    answer: Any = ""
    timed_out: bool = False


#: Told the outcome of an order, once.
Done = Callable[[Outcome], object]


class Client(Protocol):
    """Whatever can send an order: the seam at which the network is replaced."""

    def send(self, order: Order, done: Done) -> None:
        """Send `order` once, and tell `done` of it, now or later; never raises for what the network or the server does."""
        ...


def judge(status: int, body: bytes | None) -> Outcome:
    """The outcome that an HTTP answer means; `body` None is one too large to read."""
    if body is None:
        return Outcome("failed", "an answer above 1 MiB", status=status)
    answer = _json(body)
    if 200 <= status < 300:
        return _success(status, answer)
    fields = answer if isinstance(answer, dict) else {}
    reason = fields.get("reason")
    if status in (429, 503) and (not isinstance(reason, str) or any(word in reason for word in NO_ROOM)):
        return Outcome("refused", reason if isinstance(reason, str) else str(status), None, status, answer)
    failure = f"{status} {reason}" if isinstance(reason, str) else str(status)
    return Outcome("failed", f"redirected ({status})" if 300 <= status < 400 else failure, None, status, answer)


def _success(status: int, answer: Any) -> Outcome:
    if not isinstance(answer, dict):
        return Outcome("failed", f"{status} without a JSON object", status=status, answer=answer)
    name = answer.get("routed_to")
    return Outcome("accepted", "", name if isinstance(name, str) else None, status, answer)


def _json(body: bytes) -> Any:
    """The parsed body, or the beginning of its text where it is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body[:200].decode(errors="replace")
