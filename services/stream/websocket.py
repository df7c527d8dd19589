"""Streams over WebSockets (RFC 6455), on the services' ordinary ports. Must not know what a stream carries."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractResolver
from yarl import URL

from config.access import Token
from config.problems import Problem
from services import clients
from services.problem import ProblemError
from services.stream import wire
from services.stream.answering import Streams
from services.stream.seam import NoStream, Wire
from services.tracing import apart

#: A connection is there within this (wall seconds), or DNS is asked again …
CONNECT_S = 1.0
#: … and the other side's handshake within this: one that is starting takes its time.
HANDSHAKE_S = 5.0
#: A stream that says nothing for so long is closed by who answers (wall seconds): the asking side closes idle ones before.
SILENT_S = 120.0
#: Closing in order takes no longer (wall seconds).
CLOSE_S = 0.5

#: One that takes no stream is asked over HTTP for so long (wall seconds): it may be an older version …
OLDER_S = 10.0
#: … or about to stop, or crowded.
BUSY_S = 0.5
_PASSING = frozenset({408, 429, 500, 503})

_Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


class SocketWire:
    """A `Wire` over an open WebSocket, in the event loop; where none comes for `silent_s` (wall seconds), it is closed.

    One timer a while looks for that: one for each message would be half of what it costs to receive it.
    """

    def __init__(self, socket: _Socket, silent_s: float | None = None) -> None:
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._waits_since_s = math.inf
        self._closing: asyncio.Task[None] | None = None
        self._timer = None if silent_s is None else self._look_in(silent_s, silent_s)

    def _look_in(self, wait_s: float, silent_s: float) -> asyncio.TimerHandle:
        return self._loop.call_later(wait_s, self._look, silent_s, context=apart())

    def _look(self, silent_s: float) -> None:
        left_s = self._waits_since_s + silent_s - self._loop.time()
        if left_s > 0:
            self._timer = self._look_in(min(left_s, silent_s), silent_s)
        else:
            self._closing = self._loop.create_task(self.close())

    async def send(self, message: bytes) -> None:
        """See `Wire.send`."""
        await self._socket.send_bytes(message)

    async def receive(self) -> bytes:
        """See `Wire.receive`."""
        self._waits_since_s = self._loop.time()
        try:
            found = await self._socket.receive()
        except RuntimeError as error:
            raise ConnectionError("the stream is closed") from error
        finally:
            self._waits_since_s = math.inf
        if found.type is not aiohttp.WSMsgType.BINARY:
            raise ConnectionError("the stream ended")
        return bytes(found.data)

    async def close(self) -> None:
        """See `Wire.close`."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._socket.close()
        except TimeoutError:
            return


class Dialer:
    """Opens streams; brings the `token`. `resolver` finds the addresses of host names; None: the system's."""

    def __init__(self, token: Token | None = None, resolver: AbstractResolver | None = None) -> None:
        self._session = clients.session(
            token,
            resolver,
            {"limit": 0},
            timeout=aiohttp.ClientTimeout(total=HANDSHAKE_S, sock_connect=CONNECT_S),
            trace_configs=[_no_redirects()],
        )

    async def dial(self, base: str, headers: Mapping[str, str]) -> Wire:
        """A stream of the service at `base`; see `Connect` for what is raised."""
        try:
            socket = await self._session.ws_connect(
                URL(base + wire.PATH),
                headers=headers,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
                max_msg_size=wire.MOST_MESSAGE_BYTES,
            )
        except aiohttp.WSServerHandshakeError as error:
            for_s = BUSY_S if error.status in _PASSING else OLDER_S
            raise NoStream(f"the handshake was answered {error.status}", for_s) from error
        except (aiohttp.ClientError, ValueError) as error:  # ValueError: it cannot be the name of a host, or its port
            raise ConnectionError(str(error) or type(error).__name__) from error
        return SocketWire(socket)

    async def close(self) -> None:
        """Closes what is open."""
        await self._session.close()


def _no_redirects() -> aiohttp.TraceConfig:
    """The token is for the grid's own services, not for whoever they might name."""

    async def refuse(*_: object) -> None:
        raise NoStream("the handshake was answered with a redirect", OLDER_S)

    config = aiohttp.TraceConfig()
    config.on_request_redirect.append(refuse)
    return config


async def serve(streams: Streams, request: web.Request) -> web.StreamResponse:
    """Answers `GET /stream`; returns once the stream is over. ProblemError (503) where the service stops."""
    if streams.stopping:
        raise ProblemError(
            Problem(503, "this service stops; the next one may take a stream", "stopping", retry_after_s=1.0)
        )
    socket = web.WebSocketResponse(timeout=CLOSE_S, compress=False, max_msg_size=wire.MOST_MESSAGE_BYTES)
    await socket.prepare(request)
    opened = SocketWire(socket, SILENT_S)
    try:
        await streams.serve(opened, request.headers)
    finally:
        await opened.close()
    return socket
