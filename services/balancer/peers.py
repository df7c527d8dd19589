"""What a balancer says to other balancers over HTTP. Must not know what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
from yarl import URL

from config.access import Token
from config.messages import BALANCER_STATUSES
from services.balancer import connections
from services.balancer.connections import Silent
from services.problem import from_json, to_json
from services.tracing import PEER, Hop, route_of

#: Connections to one balancer; who waits for one has sent nothing yet.
CONNECTIONS_PER_PEER = 1_024
#: Says that a balancer passed this request on, which therefore must not be passed on again.
FORWARDED = "Grid-Forwarded"


class Gone(Silent):
    """Nobody listens there, or the connection broke: the process is likely gone."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Another balancer's answer, of `BALANCER_STATUSES`; `body` is a JSON object that can be written again."""

    status: int
    body: Mapping[str, Any]


class PeerLine(Protocol):
    """The way to other balancers: the one seam where tests put a fake. No method outlasts its `timeout_s` (wall seconds)."""

    async def start(self) -> None:
        """Opens what it needs, in the event loop; before anything else."""
        ...

    async def stop(self) -> None:
        """Closes that."""
        ...

    async def tell(self, url: str, note: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """`POST <url>/peers`: a `Note`, answered by a `NoteReply`; Silent (or Gone) where there is no such answer."""
        ...

    async def forward(
        self,
        url: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> Reply:
        """Passes a request on; Silent (or Gone) where no answer can be used."""
        ...


class HttpPeerLine:
    """The real line of the balancer that listens at `url`, which brings `token` to others.

    Opens its connections in `start`, closes them in `stop`.
    """

    def __init__(self, url: str, token: Token | None = None) -> None:
        self._url = url
        self._token = token
        self._pool: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Opens the pool; in the event loop."""
        self._pool = connections.pool(CONNECTIONS_PER_PEER, token=self._token)

    async def stop(self) -> None:
        """Closes all connections."""
        if self._pool is not None:
            await self._pool.close()

    async def tell(self, url: str, note: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """See `PeerLine.tell`."""
        reply = await self._ask(url, "POST", "/peers", note, {}, timeout_s)
        if reply.status != 200:
            raise Silent(f"{url} answered {reply.status}")
        return dict(reply.body)

    async def forward(
        self,
        url: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> Reply:
        """See `PeerLine.forward`."""
        return await self._ask(url, method, path, body, {**headers, FORWARDED: self._url}, timeout_s)

    async def _ask(
        self,
        url: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> Reply:
        if self._pool is None:
            raise Silent("the line is not open")
        typed = {} if body is None else {"Content-Type": "application/json"}
        hop = Hop(f"{method} {route_of(path)}", {PEER: url})
        try:
            with hop:
                async with self._pool.request(
                    method,
                    URL(url + path),
                    data=None if body is None else to_json(body),
                    headers={**headers, **typed, **hop.headers},
                    timeout=connections.within(timeout_s),
                    allow_redirects=False,
                ) as response:
                    hop.status = response.status
                    said = from_json(await connections.read(response))
                    if not isinstance(said, dict) or response.status not in BALANCER_STATUSES:
                        raise Silent(f"{url} answered {response.status} with nothing that can be used")
                    return Reply(response.status, said)
        except (aiohttp.ServerConnectionError, aiohttp.ClientOSError) as error:
            if isinstance(error, TimeoutError):
                raise Silent(str(error)) from error
            raise Gone(str(error)) from error
        except connections.FAILURES as error:
            raise Silent(connections.said(error)) from error
