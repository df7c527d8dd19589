"""Passes requests on to a balancer until one answers or time is over. Must not know what is asked.

A request may be sent more than once: its ids make that harmless.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from config.access import Token
from config.problems import Problem
from services import addresses, deadline
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
_ELSEWHERE = (b'"reason":"recovering"', b'"reason":"journal-newer"', b'"reason":"journal-corrupt"')
_PASSED_ON = frozenset({200, 202, 404, 409, 422, 503, 504})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """A balancer's answer, as it came."""

    status: int
    content_type: str
    body: bytes
    retry_after: str | None


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
                limit=CONNECTIONS, ttl_dns_cache=addresses.BELIEVED_S, resolver=self._resolver
            ),
            headers=None if self._token is None else self._token.header(),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )

    async def stop(self) -> None:
        """Closes all connections."""
        await self._pool.close()

    async def send(self, body: bytes, deadline_s: float) -> Reply | Problem:
        """The answer to the JSON `body`, or why there is none by `deadline_s` (wall seconds, monotonic)."""
        return await self._ask("POST", "/route", body, deadline_s)

    async def follow(self, method: str, request_id: str, deadline_s: float) -> Reply | Problem:
        """The answer to `method` (GET or DELETE) for one request, which must be a name; or why there is none."""
        return await self._ask(method, f"/requests/{request_id}", None, deadline_s)

    async def _ask(self, method: str, path: str, body: bytes | None, deadline_s: float) -> Reply | Problem:
        failure, pause_s = _unreachable(), PAUSE_S
        passing: Reply | None = None
        while (remaining_s := deadline_s - self._now_s()) > SHORTEST_TRY_S:
            url = self._next()
            try:
                reply = await self._try(method, url.with_path(path), body, self._share_s(remaining_s))
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                self._failed(url, error)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._failed(url, error)
                failure = _silent()
            else:
                if len(self._urls) == 1 or isinstance(reply, Problem) or not _is_passing(reply):
                    return reply
                passing = reply
            await asyncio.sleep(min(pause_s, max(0.0, deadline_s - self._now_s())))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return passing or failure

    def _share_s(self, remaining_s: float) -> float:
        """How long one try may take: of the last moments all."""
        share_s = remaining_s if len(self._urls) == 1 else remaining_s * TRY_SHARE
        return min(remaining_s, max(share_s, 20 * SHORTEST_TRY_S))

    def _failed(self, url: URL, error: BaseException) -> None:
        detail = str(error) or type(error).__name__
        _log.warning("balancer did not answer", extra={"balancer": str(url), "detail": detail[:200]})
        self._avoided_until_s[url] = self._now_s() + AVOIDED_S

    async def _try(self, method: str, url: URL, body: bytes | None, timeout_s: float) -> Reply | Problem:
        typed = {} if body is None else {"Content-Type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S, ceil_threshold=float("inf"))
        with Hop(f"{method} {route_of(url.path)}", {PEER: str(url.origin())}) as hop:
            headers = {**typed, **deadline.grant(timeout_s), **hop.headers}
            async with self._pool.request(
                method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                hop.status = answer.status
                said = await answer.read()
        if answer.status not in _PASSED_ON:
            _log.warning("balancer failed", extra={"balancer": str(url), "status": answer.status})
            return _failed(answer.status)
        return Reply(answer.status, answer.content_type, said, answer.headers.get("Retry-After"))

    def _next(self) -> URL:
        self._turn = (self._turn + 1) % len(self._urls)
        turns = self._urls[self._turn :] + self._urls[: self._turn]
        if not self._avoided_until_s:
            return turns[0]
        now_s = self._now_s()
        return min(turns, key=lambda url: self._avoided_until_s.get(url, 0.0) > now_s)


def _is_passing(reply: Reply) -> bool:
    """Whether another balancer may do what this one cannot yet."""
    return reply.status == 503 and any(reason in reply.body for reason in _ELSEWHERE)


def _silent() -> Problem:
    detail = "the balancer did not answer in time; the same request_id may be sent again"
    return Problem(504, detail, "balancer-silent", retry_after_s=1.0)


def _unreachable() -> Problem:
    return Problem(503, "no balancer could be connected to in time", "balancer-unreachable", retry_after_s=1.0)


def _failed(status: int) -> Problem:
    return Problem(503, f"the balancer failed, with status {status}", "balancer-failed", retry_after_s=1.0)
