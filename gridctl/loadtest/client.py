"""One POST /charge and what came of it; must not know when to send, or how many. An error is data here, never an exception.

Works with any server that has POST /charge: answers are judged by status first, by their fields where there are any.
"""

from __future__ import annotations

import asyncio
import errno
import json
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import aiohttp

from gridctl.loadtest.arrivals import Order

Kind = Literal["accepted", "refused", "failed"]

ANSWER_LIMIT_BYTES = 1 << 20
#: 503 and 429 that name one of these reasons, or none, say that there is no room; any other reason is a failure.
NO_ROOM = ("full", "draining", "over-capacity")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client got: `reason` says why not accepted; it is worded alike each time, so it can be counted.

    `substation` is `routed_to` where the answer has it; `status` None and `answer` "" where nothing came.
    """

    kind: Kind
    reason: str = ""
    substation: str | None = None
    status: int | None = None
    answer: Any = ""
    timed_out: bool = False


class Client(Protocol):
    """Whatever can send an order: the seam at which the network is replaced."""

    async def send(self, order: Order) -> Outcome:
        """Send `order` once; never raises for what the network or the server does."""
        ...


class HttpClient:
    """Sends orders to `url` (the whole one, with /charge) through `session`; gives up after `timeout_s` wall seconds."""

    def __init__(self, session: aiohttp.ClientSession, url: str, timeout_s: float) -> None:
        self._session = session
        self._url = url
        self._timeout_s = timeout_s

    async def send(self, order: Order) -> Outcome:
        """The outcome of one request; redirects are not followed, bodies above 1 MiB are not read."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(order)
        except TimeoutError:
            return Outcome("failed", f"no answer within {self._timeout_s:g} s", timed_out=True)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Outcome("failed", _named(error))

    async def _exchange(self, order: Order) -> Outcome:
        headers = {"Idempotency-Key": order.request_id, "Content-Type": "application/json"}
        if order.traceparent:
            headers["traceparent"] = order.traceparent
        data = json.dumps(order.body).encode()
        async with self._session.post(self._url, data=data, headers=headers, allow_redirects=False) as response:
            body = await _limited(response.content)
            return judge(response.status, body)


async def _limited(content: aiohttp.StreamReader) -> bytes | None:
    """The body, or None when it is larger than ANSWER_LIMIT_BYTES."""
    parts: list[bytes] = []
    size = 0
    while part := await content.readany():
        size += len(part)
        if size > ANSWER_LIMIT_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


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


def _named(error: Exception) -> str:
    """A failure of the network in words that are the same each time it happens, so that they can be counted."""
    if isinstance(error, aiohttp.ClientConnectorError | ConnectionRefusedError):
        return "connection refused" if _errno_is_refused(error) else "cannot connect"
    broken = isinstance(error, OSError) and error.errno in (errno.ECONNRESET, errno.EPIPE)
    if broken or isinstance(error, aiohttp.ServerDisconnectedError):
        return "connection closed without an answer"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "answer broken off"
    if isinstance(error, aiohttp.ClientResponseError):
        return "not HTTP"
    return type(error).__name__


def _errno_is_refused(error: Exception) -> bool:
    inner = getattr(error, "os_error", error)
    return isinstance(inner, ConnectionRefusedError) or "Connect call failed" in str(inner)
