"""Passes requests on to a balancer until one answers or time is over. Must not know what is asked.

A request may be sent more than once: its ids make that harmless.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from config.access import Token
from config.problems import CONTENT_TYPE, Problem
from services import addresses, deadline
from services.certificates import Trusting
from services.problem import from_json
from services.tracing import PEER, Hop, route_of

#: Open connections to all balancers together; further requests wait for one, within their time.
CONNECTIONS = 1_024
#: A balancer that refuses connections, or breaks them, is asked again after this, doubled up to the cap (wall seconds).
PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5
#: A connection is there within this (wall seconds), or the next try asks DNS again: a container that restarts comes back at
#: another address, and at the old one nobody answers, not even with a refusal. Not below `addresses.BELIEVED_S`.
CONNECT_S = 1.0
#: No try is begun with less than this left (wall seconds).
SHORTEST_TRY_S = 0.01
#: Where there are several balancers each may take this share of what time remains, so that a silent one costs little …
TRY_SHARE = 0.3
#: … and one that did not answer is asked after the others for this long (wall seconds).
AVOIDED_S = 1.0
#: What another balancer may be able to do: this one takes over from another, or cannot read its journal.
_ELSEWHERE = frozenset({"recovering", "journal-newer", "journal-corrupt"})
#: What balancers answer; anything else says that one failed.
PASSED_ON = frozenset({200, 202, 404, 409, 422, 503, 504})
#: No answer is longer: each of the requests that go in one array has about 1 kB of it.
MOST_ANSWER_BYTES = 2**22

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """A balancer's answer, as it came; `said` is what its JSON `body` holds: an object, but for an array sent an array.

    From 400 on it is a problem (RFC 9457).
    """

    status: int
    body: bytes
    said: Any
    retry_after: str | None = None

    @property
    def content_type(self) -> str:
        """What `body` is."""
        return "application/json" if self.status < 400 else CONTENT_TYPE

    @property
    def reason(self) -> str:
        """Why it was not done; "" where the answer gives no reason."""
        found = self.said.get("reason", "") if isinstance(self.said, dict) else ""
        return found if isinstance(found, str) else ""


class _NoReplyError(Exception):
    """A try brought nothing that can be passed on; `problem` is what to say of it, None where it was not even sent."""

    def __init__(self, detail: str, problem: Problem | None = None) -> None:
        super().__init__(detail)
        self.problem = problem


class _BadReplyError(_NoReplyError):
    """It was answered, and so badly that the same balancer would only do so again."""


class Forward:
    """The way to `balancers` (base URLs), which are asked in turn; who did not answer lately after the others.

    Each is brought `token`. `resolver` finds the addresses of host names; None: the system's.
    """

    def __init__(
        self,
        balancers: Sequence[str],
        now_s: Callable[[], float] = time.monotonic,
        token: Token | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._token = token
        self._urls = [URL(base.rstrip("/")) for base in balancers]
        self._now_s = now_s
        self._resolver = resolver
        self._avoided_until_s: dict[URL, float] = {}
        self._turn = 0

    async def start(self) -> None:
        """Opens the connection pool; in the event loop."""
        self._pool = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS,
                ttl_dns_cache=addresses.BELIEVED_S,
                resolver=self._resolver,
                ssl=Trusting(),
            ),
            headers=None if self._token is None else self._token.header(),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )

    async def stop(self) -> None:
        """Closes all connections."""
        await self._pool.close()

    async def send(self, body: bytes, deadline_s: float, of: type = dict) -> Reply | Problem:
        """The answer to the JSON `body`, or why there is none by `deadline_s` (wall seconds, monotonic).

        What is answered below 400 is an object; `of` list: an array, as the body is.
        """
        return await self._ask("POST", "/route", body, deadline_s, of)

    async def follow(self, method: str, request_id: str, deadline_s: float) -> Reply | Problem:
        """The answer to `method` (GET or DELETE) for one request, which must be a name; or why there is none."""
        return await self._ask(method, f"/requests/{request_id}", None, deadline_s, dict)

    async def _ask(self, method: str, path: str, body: bytes | None, deadline_s: float, of: type) -> Reply | Problem:
        failure, pause_s = _unreachable(), PAUSE_S
        passing: Reply | None = None
        bad: set[URL] = set()
        while (remaining_s := deadline_s - self._now_s()) > SHORTEST_TRY_S:
            url = self._next()
            try:
                reply = await self._try(method, url.with_path(path), body, self._share_s(remaining_s), of)
            except _NoReplyError as error:
                self._failed(url, error)
                failure = error.problem or failure
                if isinstance(error, _BadReplyError):
                    bad.add(url)
            else:
                if len(self._urls) == 1 or not _is_passing(reply):
                    return reply
                passing = reply
            if bad.issuperset(self._urls):
                break
            await asyncio.sleep(min(pause_s, max(0.0, deadline_s - self._now_s())))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return passing or failure

    def _share_s(self, remaining_s: float) -> float:
        """How long one try may take: of the last moments all."""
        share_s = remaining_s if len(self._urls) == 1 else remaining_s * TRY_SHARE
        return min(remaining_s, max(share_s, 20 * SHORTEST_TRY_S))

    def _failed(self, url: URL, error: _NoReplyError) -> None:
        _log.warning("balancer did not answer", extra={"balancer": str(url), "detail": str(error)[:200]})
        self._avoided_until_s[url] = self._now_s() + AVOIDED_S

    async def _try(self, method: str, url: URL, body: bytes | None, timeout_s: float, of: type) -> Reply:
        try:
            return await self._exchange(method, url, body, timeout_s, of)
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ConnectionTimeoutError,
            aiohttp.InvalidURL,
            UnicodeError,
        ) as error:
            raise _NoReplyError(str(error)) from error  # UnicodeError: it cannot be the name of a host
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _NoReplyError(str(error) or type(error).__name__, _silent()) from error

    async def _exchange(self, method: str, url: URL, body: bytes | None, timeout_s: float, of: type) -> Reply:
        typed = {} if body is None else {"Content-Type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S, ceil_threshold=float("inf"))
        with Hop(f"{method} {route_of(url.path)}", {PEER: str(url.origin())}) as hop:
            headers = {**typed, **deadline.grant(timeout_s), **hop.headers}
            async with self._pool.request(
                method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                hop.status = answer.status
                if answer.status not in PASSED_ON:
                    raise _bad(f"with status {answer.status}")
                said = await _read(answer)
        return _reply(answer, said, of)

    def _next(self) -> URL:
        self._turn = (self._turn + 1) % len(self._urls)
        turns = self._urls[self._turn :] + self._urls[: self._turn]
        if not self._avoided_until_s:
            return turns[0]
        now_s = self._now_s()
        return min(turns, key=lambda url: self._avoided_until_s.get(url, 0.0) > now_s)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body of `answer`, no further than it may go."""
    chunks, size = [], 0
    async for chunk in answer.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > MOST_ANSWER_BYTES:
            answer.close()
            raise _bad(f"with more than {MOST_ANSWER_BYTES} bytes")
    return b"".join(chunks)


def _reply(answer: aiohttp.ClientResponse, body: bytes, of: type) -> Reply:
    """`answer` as a reply; a `_BadReplyError` where it is none that a balancer gives."""
    wait = answer.headers.get("Retry-After", "")
    try:
        said = from_json(body)
    except ValueError as error:
        raise _bad(f"with status {answer.status} and no JSON") from error
    reply = Reply(answer.status, body, said, wait if wait.isascii() and wait.isdigit() else None)
    whole = isinstance(said, of if answer.status < 400 else dict)
    if not whole or answer.content_type != reply.content_type:
        raise _bad(f"with status {answer.status} and JSON that says nothing")
    return reply


def _is_passing(reply: Reply) -> bool:
    """Whether another balancer may do what this one cannot yet."""
    return reply.status == 503 and reply.reason in _ELSEWHERE


def _silent() -> Problem:
    detail = "the balancer did not answer in time; the same request_id may be sent again"
    return Problem(504, detail, "balancer-silent", retry_after_s=1.0)


def _unreachable() -> Problem:
    return Problem(503, "no balancer could be connected to in time", "balancer-unreachable", retry_after_s=1.0)


def _bad(how: str) -> _BadReplyError:
    detail = f"the balancer failed: it answered {how}"
    return _BadReplyError(detail, Problem(503, detail, "balancer-failed", retry_after_s=1.0))
