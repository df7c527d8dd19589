"""Sends orders to a server over kept connections. Must not know when to send, or what outcomes are for.

A request waits for nothing but a connection: a free one, or one that is opened for it. All wait equally long, so one timer
looks after the one that was sent first.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from urllib.parse import quote, unquote, urlsplit

from gridctl.loadtest.arrivals import Order
from gridctl.loadtest.client import Done, Outcome, judge
from gridctl.loadtest.wire import Wire

#: Sockets to the server at most; requests beyond wait for one, and that counts in their latency.
SOCKETS = 1000
#: A connection that nobody used for so long (wall seconds) is not used again: the server may be closing it.
IDLE_S = 15.0

_SAFE = "/%:@!$&'()*+,;=~"


class _Exchange:
    """A request that is not answered yet, on a wire or waiting for one; `done` None: it has its outcome."""

    __slots__ = ("deadline_s", "done", "request", "wire")

    def __init__(self, request: bytes, done: Done, deadline_s: float) -> None:
        self.request = request
        self.done: Done | None = done
        self.deadline_s = deadline_s
        self.wire: Wire | None = None

    def settle(self, outcome: Outcome) -> None:
        """Tell its outcome, unless that was told."""
        done, self.done, self.wire, self.request = self.done, None, None, b""
        if done is not None:
            done(outcome)


class HttpClient:
    """Sends orders to `url` (the whole one, with /charge), each with `headers`; gives up after `timeout_s` wall seconds.

    Redirects are not followed, bodies above 1 MiB are not read. Made where an event loop runs; `clock` is monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
        sockets: int = SOCKETS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout_s = timeout_s
        self._sockets = sockets
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._host, self._port, self._head = _address(url, headers or {})
        self._tls = ssl.create_default_context() if url.startswith("https") else None
        self._idle: list[Wire] = []
        self._on: dict[Wire, _Exchange] = {}
        self._wires: set[Wire] = set()
        self._opening: set[asyncio.Task[Wire | str]] = set()
        self._queue: deque[_Exchange] = deque()
        self._sent: deque[_Exchange] = deque()
        self._timer: asyncio.TimerHandle | None = None
        #: How many found all sockets taken.
        self.waited = 0

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; what was on them has no outcome."""
        if self._timer is not None:
            self._timer.cancel()
        for exchange in self._sent:
            exchange.done = None
        for task in self._opening:
            task.cancel()
        for wire in list(self._wires):
            wire.cut()

    def send(self, order: Order, done: Done) -> None:
        """See `Client.send`."""
        exchange = _Exchange(self._request(order), done, self._clock() + self._timeout_s)
        sent = self._sent
        while sent and sent[0].done is None:
            sent.popleft()
        sent.append(exchange)
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._look)
        wire = self._free()
        if wire is not None:
            self._put(exchange, wire)
            return
        self._queue.append(exchange)
        if len(self._wires) + len(self._opening) >= self._sockets:
            self.waited += 1
        self._open_more()

    def _open_more(self) -> None:
        """A connection for each who waits, as far as there are sockets."""
        while len(self._queue) > len(self._opening) and len(self._wires) + len(self._opening) < self._sockets:
            task = self._loop.create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opened)

    def _request(self, order: Order) -> bytes:
        body = json.dumps(order.body)  # ASCII
        trace = f"traceparent: {order.traceparent}\r\n" if order.traceparent else ""
        key = f"Idempotency-Key: {order.request_id}\r\nContent-Length: {len(body)}\r\n\r\n"
        return f"{self._head}{trace}{key}{body}".encode()

    def _free(self) -> Wire | None:
        """The connection that was used last, of those that are free."""
        oldest_s = self._clock() - IDLE_S
        while self._idle:
            wire = self._idle.pop()
            if wire.is_open and wire.free_s > oldest_s:
                return wire
            wire.cut()
        return None

    def _put(self, exchange: _Exchange, wire: Wire) -> None:
        exchange.wire = wire
        self._on[wire] = exchange
        wire.ask(exchange.request)

    def _next(self, wire: Wire) -> None:
        """`wire` is free: for who waits for one."""
        while self._queue:
            exchange = self._queue.popleft()
            if exchange.done is not None:
                self._put(exchange, wire)
                return
        wire.free_s = self._clock()
        self._idle.append(wire)

    async def _open(self) -> Wire | str:
        """A new connection, or why there is none."""
        try:
            _, wire = await self._loop.create_connection(self._wire, self._host, self._port, ssl=self._tls)
        except (OSError, ValueError) as error:
            return "connection refused" if _is_refused(error) else "cannot connect"
        self._wires.add(wire)
        return wire

    def _opened(self, task: asyncio.Task[Wire | str]) -> None:
        """It is for the first who waits; that it cannot be had is told to whoever is the first then."""
        self._opening.discard(task)
        if task.cancelled():
            return
        wire = task.result()
        if isinstance(wire, str):
            self._refused(wire)
        elif wire.is_open:
            self._next(wire)
        else:
            self._wires.discard(wire)
            self._refused("cannot connect")

    def _wire(self) -> Wire:
        return Wire(self._answered, self._failed, self._lost)

    def _refused(self, why: str) -> None:
        while self._queue:
            exchange = self._queue.popleft()
            if exchange.done is not None:
                exchange.settle(Outcome("failed", why))
                break
        self._open_more()

    def _answered(self, wire: Wire, status: int, body: bytes | None) -> None:
        exchange = self._on.pop(wire)
        if wire.is_open:
            self._next(wire)
        exchange.settle(judge(status, body))

    def _failed(self, wire: Wire, why: str) -> None:
        self._on.pop(wire).settle(Outcome("failed", why))

    def _lost(self, wire: Wire) -> None:
        """One less: whoever waits for a socket gets a new one."""
        self._wires.discard(wire)
        if wire in self._idle:
            self._idle.remove(wire)
        self._open_more()

    def _look(self) -> None:
        """Gives up whoever has waited too long, and looks again when the next one will have."""
        now_s = self._clock()
        while self._sent and (self._sent[0].done is None or self._sent[0].deadline_s <= now_s):
            exchange = self._sent.popleft()
            if exchange.done is None:
                continue
            wire = exchange.wire
            if wire is not None:
                self._on.pop(wire, None)
                wire.cut()
            exchange.settle(Outcome("failed", f"no answer within {self._timeout_s:g} s", timed_out=True))
        self._timer = None
        if self._sent:
            self._timer = self._loop.call_later(max(0.001, self._sent[0].deadline_s - now_s), self._look)


def _address(url: str, headers: Mapping[str, str]) -> tuple[str, int, str]:
    """Host and port of `url`, and the head of a request to it but for what each has of its own."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    path = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE + '?')}" if parts.query else "")
    named = f"[{host}]" if ":" in host else host.encode("idna").decode()
    fields = {
        "Host": named if parts.port is None else f"{named}:{port}",
        "User-Agent": "gridctl-loadtest",
        "Accept": "*/*",
        "Content-Type": "application/json",
    }
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        fields["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    fields.update(headers)
    return host, port, f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())


def _is_refused(error: Exception) -> bool:
    return isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error)
