"""The heads of plain requests, by their very bytes: a client that keeps its connection sends the same one again and again.

A head is judged once, by aiohttp's own parser and the gate; what has the same bytes is the same head, and so is what differs
only in the values of a few lines by which nothing is judged. Whatever is not plain (no length, a coding, an expectation, a
strange token …) has none here, and goes the usual way. Must not know any service.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any, Final, TypeVar

from aiohttp import HttpVersion11, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict, CIMultiDictProxy

from config.messages import MAX_BODY_BYTES
from services.connection import MOST_HEADERS
from services.gate import Gate
from services.tracing import Parent, parent_of

#: So many heads are remembered, and none that is longer: some hundred kilobytes altogether.
MOST_HEADS = 256
MOST_BYTES: Final = 2048
#: Ends a head.
END: Final = b"\r\n\r\n"
#: What has one of these goes the usual way.
_UNUSUAL = ("Expect", "Upgrade", "Transfer-Encoding", "Content-Encoding")
#: Each request has its own of these, of which only the length is judged, and so a head with one hardly comes again.
_OWN = ("Content-Length", "Idempotency-Key", "traceparent", "tracestate", "X-Request-ID", "X-Correlation-ID")
_OWN_TITLES = frozenset(name.title() for name in _OWN)
_ONCE = (*_OWN[1:], "Grid-Timeout-Ms")
#: Such a line as almost everybody writes it; one that is written otherwise is not known by its head.
_VALUE = rb"[!-~](?:[ -~]{0,510}[!-~])?"
_OWN_LINE = re.compile(rb"\r\n(%b): (%b)(?=\r\n)" % ("|".join(_OWN).encode(), _VALUE), re.IGNORECASE)
#: What is left of a head then must be such lines, so few of them that those of its own are not too many either.
_LINES = re.compile(rb"[!-~]+ [!-~]+ HTTP/1\.1(?:\r\n[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[ -~]*)*\r\n\r\n")
_MOST_LINES = MOST_HEADERS - len(_OWN)


_Any = TypeVar("_Any")
#: What has been met so often is looked for first, by a pattern of its own.
OFTEN = 16

#: The lines of its own that a head has, in their order.
_Fields = Sequence[tuple[str, str]]


class Head:
    """A plain `POST` to `path` with `length` bytes of JSON, or `GET` of it, by who may ask; `parent` is his span."""

    __slots__ = ("headers", "length", "method", "parent", "path")

    def __init__(
        self, method: str, path: str, headers: CIMultiDictProxy[str], length: int, parent: Parent | None
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.length = length
        self.parent = parent


class Heads:
    """Knows plain heads of `POST` to `paths` and `GET` of `looks`, of those whom `gate` lets in. One event loop only."""

    def __init__(self, paths: Collection[str], gate: Gate, looks: Collection[str] = ()) -> None:
        self._plain = {**{("POST", path): _is_post for path in paths}, **{("GET", path): _is_look for path in looks}}
        self._gate = gate
        self._known: dict[bytes, Head] = {}
        self._alike: dict[bytes, _Kind] = {}
        self._latest: _Kind | None = None
        #: What every such request begins with; empty where there are none.
        self.starts = tuple(f"{method} {path} HTTP/1.1\r\n".encode() for method, path in self._plain)

    def find(self, raw: bytes) -> Head | None:
        """The head whose bytes, with the empty line, are `raw`; None where it is not plain, or may not ask."""
        known = self._known.get(raw)
        if known is not None:
            return known
        latest = self._latest
        head = None if latest is None else latest.fit(raw)
        return self._judge(raw) if head is None else head

    def _judge(self, raw: bytes) -> Head | None:
        if len(raw) > MOST_BYTES or not raw.startswith(self.starts):
            return None
        parts = _OWN_LINE.split(raw)  # what all have, a name, a value, what all have …
        rest, own = b"".join(parts[::3]), _fields(parts)
        kind = self._alike.get(rest)
        if kind is not None and (head := _like(kind.head, own)) is not None:
            self._latest = kind.met(parts) or self._latest
            return head
        return self._learn(raw, rest, own)

    def _learn(self, raw: bytes, rest: bytes, own: _Fields) -> Head | None:
        if (request := _read(raw)) is None:
            return None
        is_plain = self._plain.get((request.method, request.raw_path))
        if is_plain is None or not is_plain(request) or self._gate.refusal(request) is not None:
            return None
        headers = request.headers
        head = Head(request.method, request.raw_path, headers, request.content_length or 0, parent_of(headers))
        if not any(name in headers for name in _ONCE):
            _keep(self._known, raw, head)
        elif _is_judged_by(rest, own, headers):
            plain = Head(head.method, head.path, _without(headers, own), head.length, head.parent)
            _keep(self._alike, rest, _Kind(plain))
        return head


class _Kind:
    """Heads that differ in their lines of their own alone; `head` has none of these."""

    __slots__ = ("_left", "_names", "_pattern", "head")

    def __init__(self, head: Head) -> None:
        self.head = head
        self._left = OFTEN
        self._pattern: re.Pattern[bytes] | None = None
        self._names: list[str] = []

    def met(self, parts: Sequence[bytes]) -> _Kind | None:
        """One more, of these `parts`, in `_OWN_LINE`'s order; itself, once `fit` knows those that are laid out so."""
        if self._pattern is None:
            self._left -= 1
            if self._left > 0:
                return None
            self._names = [name.decode() for name in parts[1::3]]
            self._pattern = re.compile(_layout(parts))
        return self

    def fit(self, raw: bytes) -> Head | None:
        """The head whose bytes are `raw`; None where they are not laid out so."""
        match = None if self._pattern is None or len(raw) > MOST_BYTES else self._pattern.fullmatch(raw)
        if match is None:
            return None
        return _like(
            self.head, [(name, value.decode()) for name, value in zip(self._names, match.groups(), strict=True)]
        )


def _layout(parts: Sequence[bytes]) -> bytes:
    """What matches the heads that were split into such `parts`, whatever the values are."""
    found = [re.escape(parts[0])]
    for name, between in zip(parts[1::3], parts[3::3], strict=True):
        found += [rb"\r\n", re.escape(name), b": (", _VALUE, b")", re.escape(between)]
    return b"".join(found)


def _fields(parts: Sequence[bytes]) -> _Fields:
    names, values = parts[1::3], parts[2::3]
    return [(name.decode(), value.decode()) for name, value in zip(names, values, strict=True)]


def _like(alike: Head, own: _Fields) -> Head | None:
    """The head that has all of `alike` and these lines; None where they are not plain."""
    headers = CIMultiDict(alike.headers)
    for name, value in own:
        if name in headers:
            return None
        headers[name] = value
    length = headers.get("Content-Length", "")
    if alike.method == "POST":
        if not (length.isdigit() and len(length) < 8 and 0 < int(length) <= MAX_BODY_BYTES):
            return None
    elif length:
        return None
    return Head(alike.method, alike.path, CIMultiDictProxy(headers), int(length or 0), parent_of(headers))


def _is_judged_by(rest: bytes, own: _Fields, headers: CIMultiDictProxy[str]) -> bool:
    """Whether a head with the same `rest` is read and judged alike, whatever its lines of its own say.

    So it must have no such lines that are not in `own`, none twice, and none that hangs on the one before it.
    """
    names = [name.title() for name, _ in headers.items()]  # its keys say each name once
    once = {name.title() for name, _ in own}
    return (
        len(once) == len(own) == sum(name in _OWN_TITLES for name in names)
        and len(names) <= _MOST_LINES
        and "Grid-Timeout-Ms" not in names
        and _LINES.fullmatch(rest) is not None
    )


def _without(headers: CIMultiDictProxy[str], own: _Fields) -> CIMultiDictProxy[str]:
    left = CIMultiDict(headers)
    for name, _ in own:
        del left[name]
    return CIMultiDictProxy(left)


def _keep(heads: dict[bytes, _Any], by: bytes, head: _Any) -> None:
    if len(heads) >= MOST_HEADS:
        heads.clear()
    heads[by] = head


#: Stands where aiohttp wants to know a request's connection.
_NOBODY: Any = SimpleNamespace(ssl_context=None, peername=None, sockname=None)


def _read(raw: bytes) -> BaseRequest | None:
    """What aiohttp makes of the head `raw`; None where it is not exactly one, of HTTP/1.1 and a lasting connection."""
    loop = asyncio.get_running_loop()
    nobody = BaseProtocol(loop)
    parser: Any = HttpRequestParser(
        nobody, loop, 1 << 16, max_headers=MOST_HEADERS, payload_exception=web.RequestPayloadError
    )  # Any: it gives other types than it says, which shows once this is compiled
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
    return BaseRequest(message, payload, _NOBODY, unknown, unknown, loop)


def _is_post(request: BaseRequest) -> bool:
    return (
        request.content_type == "application/json"
        and 0 < (request.content_length or 0) <= MAX_BODY_BYTES
        and not any(name in request.headers for name in _UNUSUAL)
    )


def _is_look(request: BaseRequest) -> bool:
    return not any(name in request.headers for name in (*_UNUSUAL, "Content-Length"))
