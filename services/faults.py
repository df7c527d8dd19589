"""Faults of replies, for `gridctl chaos`: some are lost, late, or to a request that was handled twice.

Off, and then not in the way at all: the server's own handler is called, nothing of this module. They come over the lifeline
only, never over a service's port, and each expires by itself. Must not know what any service answers.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Any

from aiohttp import web
from aiohttp.web_request import BaseRequest

from config.errors import Fault, Invalid
from services.connection import Connection
from services.stream.answering import Fate
from services.stream.wire import PATH
from services.traffic import Traffic

#: The lifeline's verb: `{"do": "faults", "drop_pct": 2, "for_s": 10}`.
VERB = "faults"
#: A fault that is not renewed ends after this (wall seconds), whatever became of who asked for it.
LONGEST_S = 10.0
#: The faults and the most that each may be: shares in percent, wall seconds. 0 ends one.
MOST = {"drop_pct": 100.0, "delay_s": 60.0, "duplicate_pct": 100.0}
#: The launcher's own look at a service stays true; a stream is not a reply, the answers in it are.
_SPARED = frozenset({"/health", PATH})
#: `l_onoff`, `l_linger`: closing sends a reset (socket(7)).
_LINGER = struct.pack("ii", 1, 0)

Handler = Callable[[BaseRequest], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)


def checked(order: Mapping[str, Any]) -> dict[str, float]:
    """The faults that `order` asks for, and its `for_s`; Invalid with every value that cannot be."""
    most = {**MOST, "for_s": LONGEST_S}
    given = {key: order[key] for key in most if order.get(key) is not None}
    faults = [
        Fault("faults", 0, key, repr(value), f"a number from 0 to {most[key]:g}")
        for key, value in given.items()
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most[key]
    ]
    if not given.keys() & MOST.keys():
        faults.append(Fault("faults", 0, "(order)", "none", f"at least one of {', '.join(MOST)}"))
    if faults:
        raise Invalid("these faults of replies cannot be", f"they are {', '.join(MOST)}", faults)
    return {key: float(value) for key, value in given.items()}


class Faults:
    """Which faults are on, and until when. Pure: time is passed in, in seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._on: dict[str, tuple[float, float]] = {}

    def renew(self, order: Mapping[str, float], now_s: float) -> None:
        """Takes a `checked` order: each fault in it is as it says for `for_s` from now; others stay as they are."""
        until_s = now_s + order.get("for_s", LONGEST_S)
        for kind in MOST:
            if kind in order:
                self._on[kind] = (order[kind], until_s)
        self.expire(now_s)

    def expire(self, now_s: float) -> None:
        """Forgets what is over."""
        self._on = {kind: (value, until_s) for kind, (value, until_s) in self._on.items() if value and until_s > now_s}

    def value(self, kind: str, now_s: float) -> float:
        """How much of `kind` there is; 0 where it is off or over."""
        value, until_s = self._on.get(kind, (0.0, -math.inf))
        return value if until_s > now_s else 0.0

    @property
    def is_on(self) -> bool:
        """Whether there is any."""
        return bool(self._on)

    def next_end_s(self) -> float | None:
        """When the next one is over; None where all are off."""
        return min((until_s for _, until_s in self._on.values()), default=None)


class Switch:
    """Puts faults between a server and its handler while any is on, and takes itself out when the last is over."""

    def __init__(self, rng: Random | None = None, now_s: Callable[[], float] = time.monotonic) -> None:
        self._faults = Faults()
        self._rng = rng or Random()
        self._now_s = now_s
        self._server: web.Server | None = None
        self._plain: Handler | None = None
        self._traffic = Traffic()
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def before(self, server: web.Server, traffic: Traffic) -> Iterator[None]:
        """Within it, orders change what happens to the replies of `server`; `traffic` counts delayed ones as in flight."""
        self._server, self._plain, self._traffic = server, server.request_handler, traffic
        self._set()
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._server = None

    def value(self, kind: str) -> float:
        """How much of `kind` (a key of MOST) there is now; 0 where it is off."""
        return self._faults.value(kind, self._now_s())

    def fate(self) -> Fate | None:
        """What happens to the next answer in a stream; None while all is off."""
        if not self._faults.is_on:
            return None
        return Fate(self._strikes("duplicate_pct"), self.value("delay_s"), self._strikes("drop_pct"))

    def ahead_of(self, command: Callable[[Mapping[str, Any]], None]) -> Callable[[Mapping[str, Any]], None]:
        """What obeys the lifeline: orders of this module here, all others by `command`."""

        def obey(order: Mapping[str, Any]) -> None:
            if order.get("do") != VERB:
                command(order)
                return
            try:
                self.renew(checked(order))
            except Invalid as wrong:
                _log.warning("an order was passed over", extra={"faults": [str(fault) for fault in wrong.faults]})

        return obey

    def renew(self, order: Mapping[str, float]) -> None:
        """Takes a `checked` order; in the event loop."""
        self._faults.renew(order, self._now_s())
        _log.info("ordered", extra={"order": VERB, **order})
        self._set()

    def _set(self) -> None:
        """Installs what the faults want now, and comes back when the next one is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now_s = self._now_s()
        self._faults.expire(now_s)
        end_s = self._faults.next_end_s()
        self._install(self._plain if end_s is None else self._answer)
        if end_s is not None and self._server is not None:
            self._timer = asyncio.get_running_loop().call_later(end_s - now_s, self._set)

    def _install(self, handler: Handler | None) -> None:
        server = self._server
        if server is None or handler is None or server.request_handler == handler:
            return
        server.request_handler = handler
        for connection in server.connections:
            if isinstance(connection, Connection):
                connection.handle_by(handler)

    async def _answer(self, request: BaseRequest) -> web.StreamResponse:
        """The plain handler's answer, once or again, now or later; or none, though the work was done."""
        handle = self._plain
        if handle is None:
            raise RuntimeError("no server")
        if request.path in _SPARED:
            return await handle(request)
        with self._traffic.request():
            response = await handle(request)
            if response.prepared:
                return response
            if self._strikes("duplicate_pct"):
                response = await handle(request)
            if delay_s := self.value("delay_s"):
                await asyncio.sleep(delay_s)
            if self._strikes("drop_pct"):
                _reset(request)
            return response

    def _strikes(self, kind: str) -> bool:
        return self._rng.random() * 100 < self.value(kind)


def _reset(request: BaseRequest) -> None:
    """Cuts the connection; what is written to it afterwards goes nowhere."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    transport.abort()
