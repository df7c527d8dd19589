"""The heads of plain requests, by their very bytes: a client that keeps its connection sends the same one again and again.

A head is judged once, by aiohttp's own parser and the gate; what has the same bytes is the same head. Whatever is not plain
(no length, a coding, an expectation, a strange token …) has none here, and goes the usual way. Must not know any service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from aiohttp import HttpVersion11, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDictProxy

from config.messages import MAX_BODY_BYTES
from services.connection import MOST_HEADERS
from services.gate import Gate
from services.tracing import Parent, parent_of

#: So many heads are remembered, and none that is longer: some hundred kilobytes altogether.
MOST_HEADS = 256
MOST_BYTES = 2048
#: Ends a head.
END = b"\r\n\r\n"
#: What has one of these goes the usual way.
_UNUSUAL = ("Expect", "Upgrade", "Transfer-Encoding", "Content-Encoding")
#: A head with one of these hardly comes again.
_ONCE = ("traceparent", "Idempotency-Key", "Grid-Timeout-Ms")


class Head(NamedTuple):
    """A plain `POST` to `path` with `length` bytes of JSON, or `GET` of it, by who may ask; `parent` is his span."""

    method: str
    path: str
    headers: CIMultiDictProxy[str]
    length: int
    parent: Parent | None


class Heads:
    """Knows plain heads of `POST` to `paths` and `GET` of `looks`, of those whom `gate` lets in. One event loop only."""

    def __init__(self, paths: Collection[str], gate: Gate, looks: Collection[str] = ()) -> None:
        self._plain = {**{("POST", path): _is_post for path in paths}, **{("GET", path): _is_look for path in looks}}
        self._gate = gate
        self._known: dict[bytes, Head] = {}
        #: What every such request begins with; empty where there are none.
        self.starts = tuple(f"{method} {path} HTTP/1.1\r\n".encode() for method, path in self._plain)

    def find(self, raw: bytes) -> Head | None:
        """The head whose bytes, with the empty line, are `raw`; None where it is not plain, or may not ask."""
        return self._known.get(raw) or self._learn(raw)

    def _learn(self, raw: bytes) -> Head | None:
        if len(raw) > MOST_BYTES or (request := _read(raw)) is None:
            return None
        is_plain = self._plain.get((request.method, request.raw_path))
        if is_plain is None or not is_plain(request) or self._gate.refusal(request) is not None:
            return None
        headers = request.headers
        head = Head(request.method, request.raw_path, headers, request.content_length or 0, parent_of(headers))
        if not any(name in headers for name in _ONCE):
            if len(self._known) >= MOST_HEADS:
                self._known.clear()
            self._known[raw] = head
        return head


@dataclass(frozen=True, slots=True)
class _Nobody:
    """Stands where aiohttp wants to know a request's connection."""

    ssl_context: None = None
    peername: None = None
    sockname: None = None


def _read(raw: bytes) -> BaseRequest | None:
    """What aiohttp makes of the head `raw`; None where it is not exactly one, of HTTP/1.1 and a lasting connection."""
    loop = asyncio.get_running_loop()
    nobody = BaseProtocol(loop)
    parser = HttpRequestParser(
        nobody, loop, 1 << 16, max_headers=MOST_HEADERS, payload_exception=web.RequestPayloadError
    )
    nobody._parser = parser  # a body that is announced may pause it
    try:
        messages, upgraded, _ = parser.feed_data(raw)
    except HttpProcessingError:
        return None
    if len(messages) != 1 or upgraded:
        return None
    message, payload = messages[0]
    if message.version != HttpVersion11 or message.should_close or message.chunked or message.compression:
        return None
    unknown: Any = None
    return BaseRequest(message, payload, cast(web.RequestHandler, _Nobody()), unknown, unknown, loop)


def _is_post(request: BaseRequest) -> bool:
    return (
        request.content_type == "application/json"
        and 0 < (request.content_length or 0) <= MAX_BODY_BYTES
        and not any(name in request.headers for name in _UNUSUAL)
    )


def _is_look(request: BaseRequest) -> bool:
    return not any(name in request.headers for name in (*_UNUSUAL, "Content-Length"))
