"""Asks a balancer over HTTP, one request at a time: where it takes no stream. Must not know which balancers there are."""

from __future__ import annotations

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from config.access import Token
from config.messages import BALANCER_STATUSES
from services import clients, deadline
from services.charge_request.reply import Reply, bad, read_reply
from services.tracing import PEER, Hop, route_of

#: Open connections to all balancers together; further requests wait for one, within their time.
CONNECTIONS = 1_024
#: A connection is there within this (wall seconds), or the next try asks DNS again: a container that restarts comes back at
#: another address, and at the old one nobody answers, not even with a refusal. Not below `clients.BELIEVED_S`.
CONNECT_S = 1.0
#: No answer is longer.
MOST_ANSWER_BYTES = 2**20


class Exchange:
    """Connections to balancers, each of which is brought `token`. `resolver` finds addresses; None: the system's."""

    def __init__(self, token: Token | None, resolver: AbstractResolver | None) -> None:
        self._token = token
        self._resolver = resolver

    async def start(self) -> None:
        """Opens the connection pool; in the event loop."""
        self._pool = clients.session(self._token, self._resolver, {"limit": CONNECTIONS})

    async def stop(self) -> None:
        """Closes all connections."""
        await self._pool.close()

    async def ask(self, method: str, url: URL, body: bytes | None, timeout_s: float) -> Reply:
        """The answer to JSON `body` (None: none); BadReplyError, or what aiohttp raises, where there is none in time."""
        typed = {} if body is None else {"Content-Type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S, ceil_threshold=float("inf"))
        with Hop(f"{method} {route_of(url.path)}", {PEER: str(url.origin())}) as hop:
            headers = {**typed, **deadline.grant(timeout_s), **hop.headers}
            async with self._pool.request(
                method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                hop.status = answer.status
                if answer.status not in BALANCER_STATUSES:
                    raise bad(f"with status {answer.status}")
                said = await clients.read(answer, MOST_ANSWER_BYTES)
                if said is None:
                    raise bad(f"with more than {MOST_ANSWER_BYTES} bytes")
        reply = read_reply(answer.status, answer.headers.get("Retry-After", ""), said)
        if answer.content_type != reply.content_type:
            raise bad(f"with status {answer.status} and {answer.content_type}")
        return reply
