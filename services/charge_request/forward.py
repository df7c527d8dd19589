"""Passes requests on to a balancer until one answers or time is over. Must not know what is asked.

A request may be sent more than once: its ids make that harmless.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from config.access import Token
from config.problems import Problem
from services.charge_request.exchange import Exchange
from services.charge_request.reply import (
    BadReplyError,
    NoReplyError,
    Reply,
    busy,
    read_reply,
    silent,
    unreachable,
)
from services.stream.caller import Caller
from services.stream.pending import Tell
from services.stream.seam import Crowded, NoStream, Unsent
from services.stream.websocket import Dialer
from services.stream.wire import Said
from services.tracing import PEER, Hop, Span

#: A balancer that refuses connections, or breaks them, is asked again after this, doubled up to the cap (wall seconds).
PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5
#: No try is begun with less than this left (wall seconds).
SHORTEST_TRY_S: Final = 0.01
#: One that was given less than this and heard nothing says nothing of the balancer, after others that did (wall seconds).
SHORTEST_SHARE_S: Final = 0.2
#: Where there are several balancers each may take this share of what time remains, so that a silent one costs little …
TRY_SHARE: Final = 0.3
#: … and one that did not answer is asked after the others for this long (wall seconds).
AVOIDED_S = 1.0
_ROUTE: Final = "/route"
_ROUTE_HOP: Final = f"POST {_ROUTE}"

_log = logging.getLogger(__name__)


class Way:
    """One balancer, at the base `url`, and the streams to it."""

    __slots__ = ("caller", "peer", "url")

    def __init__(self, url: URL, dialer: Dialer) -> None:
        base = str(url.origin())
        self.url = url
        #: What spans say of it.
        self.peer = {PEER: base}
        self.caller = Caller(partial(dialer.dial, base, {}))


class First:
    """The first time that `body` was sent, to `url`, over a stream; its answer is worth nothing after `until_s`."""

    __slots__ = ("body", "hop", "until_s", "url")

    def __init__(self, url: URL, body: bytes, until_s: float, hop: Span) -> None:
        self.url = url
        self.body = body
        self.until_s = until_s
        self.hop = hop


class _Tries:
    """What came of one request's tries until now."""

    def __init__(self) -> None:
        self.failure: Problem | None = None
        self.passing: Reply | None = None
        self.bad: set[URL] = set()
        self._pause_s = PAUSE_S
        self._is_first = True

    def failed(self, url: URL, error: NoReplyError, remaining_s: float) -> None:
        """One at `url`, begun with so much time left, brought nothing."""
        is_bad = isinstance(error, BadReplyError)
        if error.problem is not None and (self._is_first or is_bad or remaining_s > SHORTEST_SHARE_S):
            self.failure = error.problem
        if is_bad:
            self.bad.add(url)

    def pause_s(self) -> float:
        """How long to wait before the next one."""
        pause_s, self._is_first = self._pause_s, False
        self._pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return pause_s


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
        self._exchange = Exchange(token, resolver)
        self._avoided_until_s: dict[URL, float] = {}
        self._turn = 0
        self._ways: dict[URL, Way] = {}
        self._only: Way | None = None

    async def start(self) -> None:
        """Opens the connection pool; in the event loop."""
        self._dialer = Dialer(self._token, self._resolver)
        self._ways = {url: Way(url, self._dialer) for url in self._urls}
        self._only = self._ways[self._urls[0]] if len(self._urls) == 1 else None
        await self._exchange.start()

    async def stop(self) -> None:
        """Closes all connections."""
        await asyncio.gather(*(way.caller.close() for way in self._ways.values()))
        await self._dialer.close()
        await self._exchange.stop()

    def send(self, body: bytes, deadline_s: float) -> Coroutine[Any, Any, Reply | Problem]:
        """The answer to the JSON object `body`, or why there is none by `deadline_s` (wall seconds, monotonic)."""
        return self._ask("POST", _ROUTE, body, deadline_s)

    async def follow(self, method: str, request_id: str, deadline_s: float) -> Reply | Problem:
        """The answer to `method` (GET or DELETE) for one request, which must be a name; or why there is none."""
        return await self._ask(method, f"/requests/{request_id}", None, deadline_s)

    def way(self, remaining_s: float) -> Way | None:
        """Whom to ask next, where `begin` can do that at once, and so much time is enough (wall seconds); else None."""
        before, way = self._turn, self._only
        if way is None:
            way = self._ways[self._next()]
        if remaining_s > SHORTEST_TRY_S and way.caller.has_room:
            return way
        self._turn = before
        return None

    def begin(self, way: Way, body: bytes, now_s: float, deadline_s: float, span: Span, tell: Tell) -> First:
        """Begins to `send` that `way`, for the work of `span`; `tell` is told what is heard of it.

        `reply_to` says what that is, or `send_on` goes on from there. Unsent or NoStream where there is no `way`.
        """
        timeout_s = self._share_s(deadline_s - now_s)
        hop = span.child(_ROUTE_HOP, way.peer)
        way.caller.begin(body, timeout_s, hop.headers(), tell)
        return First(way.url, body, now_s + timeout_s, hop)

    def reply_to(self, first: First, heard: Said | Exception) -> Reply | None:
        """What a client is answered by `heard`; None where that is for `send_on` to say. To be called once."""
        if not isinstance(heard, Said):
            first.hop.end(None)
            return None
        first.hop.end(heard.status)
        try:
            reply = read_reply(heard.status, heard.retry_after, heard.body, is_passed_on=heard.status == 202)
        except BadReplyError:
            return None
        return reply if self._is_final(reply) else None

    async def send_on(self, first: First, heard: Said | Exception, deadline_s: float) -> Reply | Problem:
        """As `send`, after the `first` try, of which this was `heard`."""
        tries, trying = _Tries(), self._take_up(first, heard)
        reply = await self._tried(tries, first.url, trying, first.until_s - self._now_s(), deadline_s)
        return await self._ask_on(tries, "POST", _ROUTE, first.body, deadline_s) if reply is None else reply

    async def _ask(self, method: str, path: str, body: bytes | None, deadline_s: float) -> Reply | Problem:
        return await self._ask_on(_Tries(), method, path, body, deadline_s)

    async def _ask_on(
        self, tries: _Tries, method: str, path: str, body: bytes | None, deadline_s: float
    ) -> Reply | Problem:
        while not tries.bad.issuperset(self._urls):
            remaining_s = deadline_s - self._now_s()
            if remaining_s <= SHORTEST_TRY_S:
                break
            url = self._next(tries.bad)
            trying = self._try(method, url, path, body, self._share_s(remaining_s))
            reply = await self._tried(tries, url, trying, remaining_s, deadline_s)
            if reply is not None:
                return reply
        return tries.passing or tries.failure or unreachable()

    async def _tried(
        self, tries: _Tries, url: URL, trying: Awaitable[Reply], remaining_s: float, deadline_s: float
    ) -> Reply | None:
        """What came of `trying`, where that is an answer; else returns when the next try may begin."""
        try:
            reply = await trying
        except NoReplyError as error:
            _log.warning("balancer did not answer", extra={"balancer": str(url), "detail": str(error)[:200]})
            self._avoided_until_s[url] = self._now_s() + AVOIDED_S
            tries.failed(url, error, remaining_s)
        else:
            if self._is_final(reply):
                return reply
            tries.passing = reply
        if not tries.bad.issuperset(self._urls):
            await asyncio.sleep(min(tries.pause_s(), max(0.0, deadline_s - self._now_s())))
        return None

    def _is_final(self, reply: Reply) -> bool:
        """Whether no other balancer may do better."""
        return len(self._urls) == 1 or not reply.is_passing

    def _share_s(self, remaining_s: float) -> float:
        """How long one try may take: of the last moments all."""
        share_s = remaining_s if len(self._urls) == 1 else remaining_s * TRY_SHARE
        return min(remaining_s, max(share_s, SHORTEST_SHARE_S))

    async def _try(self, method: str, url: URL, path: str, body: bytes | None, timeout_s: float) -> Reply:
        until_s = self._now_s() + timeout_s
        with _as_no_reply():
            if body is not None:
                with suppress(NoStream):
                    return await self._exchange_together(url, path, body, timeout_s)
            return await self._exchange.ask(method, url.with_path(path), body, self._left_s(until_s))

    async def _take_up(self, first: First, heard: Said | Exception) -> Reply:
        """As `_try`, of which this was heard."""
        with _as_no_reply():
            if isinstance(heard, Said):
                return read_reply(heard.status, heard.retry_after, heard.body)
            if not isinstance(heard, NoStream):
                raise heard
            return await self._exchange.ask(
                "POST", first.url.with_path(_ROUTE), first.body, self._left_s(first.until_s)
            )

    def _left_s(self, until_s: float) -> float:
        return max(SHORTEST_TRY_S, until_s - self._now_s())

    async def _exchange_together(self, url: URL, path: str, body: bytes, timeout_s: float) -> Reply:
        way = self._ways[url]
        with Hop(f"POST {path}", way.peer) as hop:
            try:
                heard = await way.caller.ask(body, timeout_s, hop.headers)
            except Crowded as error:
                raise BadReplyError(str(error), busy()) from error
            hop.status = heard.status
        return read_reply(heard.status, heard.retry_after, heard.body)

    def _next(self, bad: Collection[URL] = ()) -> URL:
        """Whom to ask next: of those that are not `bad` who is not avoided, in turn."""
        if len(self._urls) == 1:
            return self._urls[0]
        self._turn = (self._turn + 1) % len(self._urls)
        turns = self._urls[self._turn :] + self._urls[: self._turn]
        if not self._avoided_until_s:
            return turns[0]
        now_s = self._now_s()
        return min(turns, key=lambda url: (url in bad, self._avoided_until_s.get(url, 0.0) > now_s))


@contextmanager
def _as_no_reply() -> Iterator[None]:
    """What goes wrong within is a NoReplyError."""
    try:
        yield
    except (
        Unsent,
        aiohttp.ClientConnectorError,
        aiohttp.ConnectionTimeoutError,
        aiohttp.InvalidURL,
        UnicodeError,
    ) as error:
        raise NoReplyError(str(error)) from error  # UnicodeError: it cannot be the name of a host
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise NoReplyError(str(error) or type(error).__name__, silent()) from error
