"""A balancer's ways to substations and other balancers over the simulated network; reads answers as the real ones do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from config.report import Report
from services.balancer import peers
from services.balancer.begins import Tell
from services.balancer.directory import Introduction
from services.balancer.line import (
    BALANCER,
    INCARNATION,
    Answer,
    Ended,
    Page,
    Silent,
    report_of,
)
from services.balancer.reading import object_of
from services.balancer.targets import Target
from services.balancer.ways import Ways
from services.problem import to_json
from tests.services.simulation.network import Network, Reply
from tests.services.simulation.streams import Lines


class SimulatedLine:
    """See `services.balancer.line.Line`; of the balancer that listens at `url`."""

    def __init__(self, network: Network, name: str, url: str) -> None:
        self._network = network
        self._name = name
        self._headers = {BALANCER: url}
        self._ways = Ways(lambda _: self._headers, partial(Lines, network, name))

    async def start(self) -> None:
        await self._ways.start()

    async def stop(self) -> None:
        await self._ways.stop()

    async def introduce(self, url: str, timeout_s: float) -> Introduction:
        raise Silent("nobody asks")

    def identify(self, incarnation: int) -> None:
        self._headers = {**self._headers, INCARNATION: str(incarnation)}
        self._ways.leave()

    async def fence(self, target: Target, url: str, incarnation: int, timeout_s: float) -> None:
        body = to_json({"balancer": url, "incarnation": incarnation})
        reply = await self._heard(target, "POST", "/fences", timeout_s, body)
        if reply.status >= 300:
            raise Silent(f"answered {reply.status}")

    async def charge(self, target: Target, request_id: str, body: bytes, timeout_s: float) -> Answer:
        return await self._ways.charge(target, request_id, body, timeout_s)

    def begin(self, target: Target, request_id: str, body: bytes, timeout_s: float, tell: Tell) -> bool:
        return self._ways.begin(target, request_id, body, timeout_s, tell)

    async def page(self, target: Target, timeout_s: float) -> Page:
        # the report stands in the headers of every answer; a page of metrics would only cost time
        reply = await self._heard(target, "GET", "/health", timeout_s)
        report = report_of(reply.headers)
        if report is None:
            raise Silent(f"answered {reply.status}")
        return Page(report, "")

    async def sessions(self, target: Target, since_s: float, timeout_s: float) -> dict[str, Any]:
        return await self._get(target, f"/sessions?ended=1&since_s={since_s:.3f}", timeout_s) or {}

    async def session(self, target: Target, request_id: str, timeout_s: float) -> dict[str, Any] | None:
        return await self._get(target, f"/sessions/{request_id}", timeout_s)

    async def revoke(self, target: Target, request_id: str, attempt: int, timeout_s: float) -> Report | None:
        return (await self._delete(target, f"/sessions/{request_id}?attempt={attempt}", timeout_s))[1]

    async def cancel(self, target: Target, request_id: str, timeout_s: float) -> Ended:
        return await self._delete(target, f"/sessions/{request_id}", timeout_s)

    async def _delete(self, target: Target, path: str, timeout_s: float) -> Ended:
        reply = await self._heard(target, "DELETE", path, timeout_s)
        if reply.status >= 500:
            raise Silent(f"answered {reply.status}")
        return object_of(reply.body) if reply.status < 400 else None, report_of(reply.headers)

    async def _get(self, target: Target, path: str, timeout_s: float) -> dict[str, Any] | None:
        reply = await self._heard(target, "GET", path, timeout_s)
        if reply.status == 404:
            return None
        if reply.status != 200:
            raise Silent(f"answered {reply.status}")
        return object_of(reply.body)

    async def _heard(self, target: Target, method: str, path: str, timeout_s: float, body: bytes = b"") -> Reply:
        try:
            return await self._ask(target, method, path, timeout_s, body)
        except (ConnectionError, TimeoutError) as error:
            raise Silent(repr(error)) from error

    async def _ask(self, target: Target, method: str, path: str, timeout_s: float, body: bytes = b"") -> Reply:
        return await self._network.ask(self._name, target.url, method, path, body, self._headers, timeout_s)


class SimulatedPeerLine:
    """See `services.balancer.peers.PeerLine`; of the balancer that listens at `url`."""

    def __init__(self, network: Network, name: str, url: str, told: Callable[[str, bytes], bytes]) -> None:
        self._network = network
        self._name = name
        self._url = url
        self._told = told

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def tell(self, url: str, note: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        # of all messages most are notes, which HTTP would make three times as slow
        raw = to_json(note)
        return dict((await self._ask(url, "POST", "/peers", raw, {}, timeout_s, lambda: self._told(url, raw))).body)

    async def forward(
        self,
        url: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> peers.Reply:
        raw = b"" if body is None else to_json(body)
        return await self._ask(url, method, path, raw, {**headers, peers.FORWARDED: self._url}, timeout_s)

    async def _ask(
        self,
        url: str,
        method: str,
        path: str,
        raw: bytes,
        headers: Mapping[str, str],
        timeout_s: float,
        direct: Callable[[], bytes] | None = None,
    ) -> peers.Reply:
        try:
            reply = await self._network.ask(self._name, url, method, path, raw, headers, timeout_s, direct)
        except ConnectionError as error:
            raise peers.Gone(repr(error)) from error
        except TimeoutError as error:
            raise Silent(repr(error)) from error
        return peers.Reply(reply.status, reply.document)
