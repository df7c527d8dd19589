"""What carries messages between simulated processes: real HTTP over no sockets, through weather of every kind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from services.stream.answering import Streams
from tests.services.simulation.streams import End
from tests.services.simulation.weather import CALM, NEAR_S, Refused, Reset, Weather
from tests.services.virtual import Life, VirtualLoop, outside

__all__ = ["CALM", "NEAR_S", "Network", "Port", "Refused", "Reply", "Reset", "Weather"]


@dataclass(slots=True)
class Reply:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body) if self.body else {}


@dataclass(slots=True)
class Exchange:
    """One request on its way, and the future of who waits for the answer."""

    request: bytes
    answer: asyncio.Future[Reply]
    weather: Weather
    direct: Callable[[], bytes] | None = None
    life: Life | None = None
    over: bool = False


class _Memory(asyncio.Transport):
    """What a connection writes, until it closes."""

    def __init__(self, loop: VirtualLoop, protocol: asyncio.Protocol, closed: Callable[[bytes], None]) -> None:
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        self._closed = closed
        self._chunks: list[bytes] = []
        self._closing = False

    def write(self, data: Any) -> None:
        self._chunks.append(bytes(data))

    def writelines(self, chunks: Any) -> None:
        self._chunks.extend(bytes(chunk) for chunk in chunks)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)
            self._closed(b"".join(self._chunks))

    abort = close

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@dataclass(eq=False)
class Port:
    """Where one process listens. While it is down messages are refused, or wait for its next life where it is `held`."""

    name: str
    life: Life | None = None
    server: web.Server | None = None
    streams: Streams | None = None
    held: bool = True
    waiting: list[Exchange] = field(default_factory=list)
    open: list[Exchange] = field(default_factory=list)


class Network:
    """All ports, and the weather between any two of them."""

    def __init__(self, loop: VirtualLoop, rng: Random, note: Callable[[str], None]) -> None:
        self.ports: dict[str, Port] = {}
        self.ends: list[End] = []
        self.sent = 0
        self.loop = self._loop = loop
        self.rng = self._rng = rng
        self.note = self._note = note
        self._weather: dict[frozenset[str], Weather] = {}

    # -- weather ------------------------------------------------------------------------------------------------------
    def set(self, one: str, other: str, weather: Weather) -> None:
        self._weather[frozenset((one, other))] = weather

    def between(self, one: str, other: str) -> Weather:
        return self._weather.get(frozenset((one, other)), CALM)

    def calm(self) -> None:
        self._weather.clear()

    # -- asking -------------------------------------------------------------------------------------------------------
    async def ask(
        self,
        sender: str,
        url: str,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        direct: Callable[[], bytes] | None = None,
    ) -> Reply:
        """The answer; Refused, Reset or TimeoutError where there is none.

        With `direct` no HTTP is spoken: that is called in the life that is asked, and gives the body of a 200.
        """
        name = str(urlsplit(url).hostname)
        weather = self.between(sender, name)
        if weather.cut and self._rng.random() < 0.5:  # it would have to connect
            await asyncio.sleep(timeout_s * 0.8)  # sleep: virtual time
            raise Refused("no route")
        raw = _request(name, method, path, body, headers or {})
        exchange = Exchange(raw, self._loop.create_future(), weather, direct)
        self._send(exchange, name)
        if weather.twice and self._rng.random() < weather.twice:
            self._send(Exchange(raw, self._loop.create_future(), weather, direct), name)
        self._note(f"    {sender} > {name} {method} {path} {body.decode()}")
        try:
            async with asyncio.timeout(timeout_s):
                reply = await asyncio.shield(exchange.answer)
        except (ConnectionError, TimeoutError) as error:
            self._note(f"    {sender} < {name} {method} {path} {error!r}")
            raise
        self._note(f"    {sender} < {name} {method} {path} {reply.status} {reply.body[:90]!r}")
        return reply

    def _send(self, exchange: Exchange, name: str) -> None:
        self.sent += 1
        weather = exchange.weather
        if weather.cut or self._rng.random() < weather.lose:
            return
        self.later(self.delay_s(weather.delay_s), partial(self._arrive, exchange, name))

    def delay_s(self, most_s: float) -> float:
        return NEAR_S * (0.5 + self._rng.random()) + most_s * self._rng.random()

    def later(self, delay_s: float, what: Callable[[], None]) -> None:
        self._loop.call_later(delay_s, what, context=outside())

    # -- arriving -----------------------------------------------------------------------------------------------------
    def _arrive(self, exchange: Exchange, name: str) -> None:
        port = self.ports.get(name)
        if port is None or (port.life is None and not port.held):
            self._fail(exchange, Refused(f"nobody listens at {name}"))
        elif port.life is None or port.server is None:
            port.waiting.append(exchange)
        else:
            self._hand(exchange, port, port.life)

    def _hand(self, exchange: Exchange, port: Port, life: Life) -> None:
        exchange.life = life
        port.open.append(exchange)
        self._loop.call_soon(self._serve, exchange, port, context=life.context)

    def _serve(self, exchange: Exchange, port: Port) -> None:
        """In the life that is asked."""
        if exchange.direct is not None:
            self._reply(exchange, port, Reply(200, {}, exchange.direct()))
            return
        assert port.server is not None
        protocol = port.server()
        transport = _Memory(self._loop, protocol, lambda raw: self._answer(exchange, port, raw))
        protocol.connection_made(transport)
        protocol.data_received(exchange.request)

    def _answer(self, exchange: Exchange, port: Port, raw: bytes) -> None:
        if raw:
            self._reply(exchange, port, _reply(raw))
        else:
            self._fail(exchange, Reset("closed without an answer"))

    def _reply(self, exchange: Exchange, port: Port, reply: Reply) -> None:
        if exchange in port.open:
            port.open.remove(exchange)
        if self._rng.random() >= exchange.weather.lose_reply:
            self.later(self.delay_s(exchange.weather.delay_reply_s), partial(_settle, exchange, reply))

    def _fail(self, exchange: Exchange, error: ConnectionError) -> None:
        self.later(self.delay_s(0.0), partial(_settle, exchange, error))

    def cut(self, one: str, other: str) -> None:
        """Every stream between the two breaks, with whatever is on its way."""
        for end in self.ends:
            if set(end.between) == {one, other}:
                end.died()

    # -- lives --------------------------------------------------------------------------------------------------------
    def listen(self, port: Port, life: Life, server: web.Server, streams: Streams | None = None) -> None:
        """`life` takes what comes, and what waited."""
        port.life, port.server, port.streams = life, server, streams
        waiting, port.waiting = port.waiting, []
        for exchange in waiting:
            self._hand(exchange, port, life)

    def died(self, port: Port) -> None:
        """Its connections are reset; what waits for the next one goes on waiting where the port is held."""
        for end in self.ends:
            if end.life is not None and end.life.over:
                end.died()
        self.ends = [end for end in self.ends if not end.over]
        port.life = port.server = port.streams = None
        broken, port.open = port.open, []
        for exchange in broken:
            self._fail(exchange, Reset("connection reset"))
        if not port.held:
            refused, port.waiting = port.waiting, []
            for exchange in refused:
                self._fail(exchange, Reset("connection reset"))


def _settle(exchange: Exchange, outcome: Reply | ConnectionError) -> None:
    if exchange.answer.done():
        return
    if isinstance(outcome, ConnectionError):
        exchange.answer.set_exception(outcome)
        exchange.answer.exception()  # whoever waited may be gone
    else:
        exchange.answer.set_result(outcome)


def _request(host: str, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    kept = {"Host": f"{host}.localhost", "Connection": "close", "Content-Type": "application/json", **headers}
    if not body:
        del kept["Content-Type"]
    kept["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in kept.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def _reply(raw: bytes) -> Reply:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in rest)
    return Reply(int(first.split()[1]), headers, body)
