"""Passes requests on to a balancer until one answers or time is over. Must not know what is asked.

A request may be sent more than once: its ids make that harmless.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from config.access import Token
from config.problems import CONTENT_TYPE, Problem
from services import clients, deadline
from services.problem import from_json
from services.stream.caller import Caller
from services.stream.seam import Crowded, NoStream, Unsent
from services.stream.websocket import Dialer
from services.tracing import PEER, Hop, route_of

#: Open connections to all balancers together; further requests wait for one, within their time.
CONNECTIONS = 1_024
#: A balancer that refuses connections, or breaks them, is asked again after this, doubled up to the cap (wall seconds).
PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5
#: A connection is there within this (wall seconds), or the next try asks DNS again: a container that restarts comes back at
#: another address, and at the old one nobody answers, not even with a refusal. Not below `clients.BELIEVED_S`.
CONNECT_S = 1.0
#: No try is begun with less than this left (wall seconds).
SHORTEST_TRY_S = 0.01
#: One that was given less than this and heard nothing says nothing of the balancer, after others that did (wall seconds).
SHORTEST_SHARE_S = 0.2
#: Where there are several balancers each may take this share of what time remains, so that a silent one costs little …
TRY_SHARE = 0.3
#: … and one that did not answer is asked after the others for this long (wall seconds).
AVOIDED_S = 1.0
#: What another balancer may be able to do: this one takes over from another, or cannot read its journal.
_ELSEWHERE = frozenset({"recovering", "journal-newer", "journal-corrupt"})
#: What balancers answer; anything else says that one failed.
PASSED_ON = frozenset({200, 202, 404, 409, 422, 503, 504})
#: No answer is longer.
MOST_ANSWER_BYTES = 2**20

_log = logging.getLogger(__name__)


class Reply(NamedTuple):
    """A balancer's answer, as it came; `said` is the object that its JSON `body` holds.

    From 400 on it is a problem (RFC 9457).
    """

    status: int
    body: bytes
    said: dict[str, Any]
    retry_after: str | None = None

    @property
    def content_type(self) -> str:
        """What `body` is."""
        return "application/json" if self.status < 400 else CONTENT_TYPE

    @property
    def reason(self) -> str:
        """Why it was not done; "" where the answer gives no reason."""
        found = self.said.get("reason", "")
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
        self._bases = {url: str(url.origin()) for url in self._urls}
        self._callers: dict[str, Caller] = {}

    async def start(self) -> None:
        """Opens the connection pool; in the event loop."""
        self._dialer = Dialer(self._token, self._resolver)
        for url in self._urls:
            base = self._bases[url]
            self._callers[base] = Caller(partial(self._dialer.dial, base, {}))
        self._pool = clients.session(self._token, self._resolver, {"limit": CONNECTIONS})

    async def stop(self) -> None:
        """Closes all connections."""
        await asyncio.gather(*(caller.close() for caller in self._callers.values()))
        await self._dialer.close()
        await self._pool.close()

    def send(self, body: bytes, deadline_s: float) -> Coroutine[Any, Any, Reply | Problem]:
        """The answer to the JSON object `body`, or why there is none by `deadline_s` (wall seconds, monotonic)."""
        return self._ask("POST", "/route", body, deadline_s)

    async def follow(self, method: str, request_id: str, deadline_s: float) -> Reply | Problem:
        """The answer to `method` (GET or DELETE) for one request, which must be a name; or why there is none."""
        return await self._ask(method, f"/requests/{request_id}", None, deadline_s)

    async def _ask(self, method: str, path: str, body: bytes | None, deadline_s: float) -> Reply | Problem:
        failure: Problem | None = None
        pause_s = PAUSE_S
        passing: Reply | None = None
        bad: set[URL] = set()
        is_first = True
        while (remaining_s := deadline_s - self._now_s()) > SHORTEST_TRY_S:
            url = self._next(bad)
            try:
                reply = await self._try(method, url, path, body, self._share_s(remaining_s))
            except _NoReplyError as error:
                self._failed(url, error)
                is_bad = isinstance(error, _BadReplyError)
                if error.problem is not None and (is_first or is_bad or remaining_s > SHORTEST_SHARE_S):
                    failure = error.problem
                if is_bad:
                    bad.add(url)
            else:
                if len(self._urls) == 1 or not _is_passing(reply):
                    return reply
                passing = reply
            if bad.issuperset(self._urls):
                break
            is_first = False
            await asyncio.sleep(min(pause_s, max(0.0, deadline_s - self._now_s())))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return passing or failure or _unreachable()

    def _share_s(self, remaining_s: float) -> float:
        """How long one try may take: of the last moments all."""
        share_s = remaining_s if len(self._urls) == 1 else remaining_s * TRY_SHARE
        return min(remaining_s, max(share_s, SHORTEST_SHARE_S))

    def _failed(self, url: URL, error: _NoReplyError) -> None:
        _log.warning("balancer did not answer", extra={"balancer": str(url), "detail": str(error)[:200]})
        self._avoided_until_s[url] = self._now_s() + AVOIDED_S

    async def _try(self, method: str, url: URL, path: str, body: bytes | None, timeout_s: float) -> Reply:
        try:
            until_s = self._now_s() + timeout_s
            if body is not None:
                with suppress(NoStream):
                    return await self._exchange_together(url, path, body, timeout_s)
            left_s = max(SHORTEST_TRY_S, until_s - self._now_s())
            return await self._exchange(method, url.with_path(path), body, left_s)
        except (
            Unsent,
            aiohttp.ClientConnectorError,
            aiohttp.ConnectionTimeoutError,
            aiohttp.InvalidURL,
            UnicodeError,
        ) as error:
            raise _NoReplyError(str(error)) from error  # UnicodeError: it cannot be the name of a host
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _NoReplyError(str(error) or type(error).__name__, _silent()) from error

    async def _exchange_together(self, url: URL, path: str, body: bytes, timeout_s: float) -> Reply:
        base = self._bases[url]
        with Hop(f"POST {path}", {PEER: base}) as hop:
            try:
                heard = await self._callers[base].ask(body, timeout_s, hop.headers)
            except Crowded as error:
                raise _BadReplyError(str(error), _busy()) from error
            hop.status = heard.status
            if heard.status not in PASSED_ON:
                raise _bad(f"with status {heard.status}")
        return _reply(heard.status, heard.retry_after, heard.body)

    async def _exchange(self, method: str, url: URL, body: bytes | None, timeout_s: float) -> Reply:
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
                said = await clients.read(answer, MOST_ANSWER_BYTES)
                if said is None:
                    raise _bad(f"with more than {MOST_ANSWER_BYTES} bytes")
        reply = _reply(answer.status, answer.headers.get("Retry-After", ""), said)
        if answer.content_type != reply.content_type:
            raise _bad(f"with status {answer.status} and {answer.content_type}")
        return reply

    def _next(self, bad: Collection[URL] = ()) -> URL:
        """Whom to ask next: of those that are not `bad` who is not avoided, in turn."""
        self._turn = (self._turn + 1) % len(self._urls)
        turns = self._urls[self._turn :] + self._urls[: self._turn]
        if not self._avoided_until_s:
            return turns[0]
        now_s = self._now_s()
        return min(turns, key=lambda url: (url in bad, self._avoided_until_s.get(url, 0.0) > now_s))


def _reply(status: int, wait: str, body: bytes) -> Reply:
    """What was answered, as a reply; a `_BadReplyError` where it is none that a balancer gives."""
    try:
        said = from_json(body)
    except ValueError as error:
        raise _bad(f"with status {status} and no JSON") from error
    if not isinstance(said, dict):
        raise _bad(f"with status {status} and JSON that says nothing")
    return Reply(status, body, said, wait if wait.isascii() and wait.isdigit() else None)


def _is_passing(reply: Reply) -> bool:
    """Whether another balancer may do what this one cannot yet."""
    return reply.status == 503 and reply.reason in _ELSEWHERE


def _silent() -> Problem:
    detail = "the balancer did not answer in time; the same request_id may be sent again"
    return Problem(504, detail, "balancer-silent", retry_after_s=1.0)


def _busy() -> Problem:
    return Problem(503, "too many requests are waiting for the balancer", "busy", retry_after_s=1.0)


def _unreachable() -> Problem:
    return Problem(503, "no balancer could be connected to in time", "balancer-unreachable", retry_after_s=1.0)


def _bad(how: str) -> _BadReplyError:
    detail = f"the balancer failed: it answered {how}"
    return _BadReplyError(detail, Problem(503, detail, "balancer-failed", retry_after_s=1.0))
