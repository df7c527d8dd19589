"""What a balancer says to substations over HTTP, and what it makes of their answers. Must not know the ledger."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

import aiohttp
from yarl import URL

from config.access import Token
from config.report import MEANT, Report
from services.balancer import connections
from services.balancer.begins import Tell
from services.balancer.book import state_of
from services.balancer.connections import Silent
from services.balancer.directory import Introduction
from services.balancer.glance import Glances
from services.balancer.pages import MOST_ON_A_PAGE, in_one
from services.balancer.reading import Answer, Page, answer_of, is_unknown, object_of, report_of
from services.balancer.result import Result
from services.balancer.targets import Target
from services.balancer.ways import Ways
from services.problem import to_json
from services.question import Odd
from services.stream.seam import NoStream
from services.stream.websocket import Dialer
from services.tracing import REQUEST, SUBSTATION, Hop

__all__ = ["Answer", "Ended", "HttpLine", "Line", "Page", "Result", "Silent", "report_of"]

#: A list of sessions may be so long.
MOST_SESSIONS_BYTES = 2**28
#: Connections to one substation; who waits for one has sent nothing yet.
CONNECTIONS_PER_SUBSTATION = 256
#: Names the balancer that asks, so that substations can tell it at once what its polls would tell it later …
BALANCER = "Grid-Balancer"
#: … and which of its incarnations: substations take no charge from one that is older than another they heard, or fenced.
INCARNATION = "Grid-Incarnation"
#: Who spent all the time on one answer has so much left to ask otherwise (wall seconds).
_SHORTEST_S = 0.001
_JSON = {"Content-Type": "application/json"}
#: What a substation says of a session that it was told to end (None: it knows none), and its report.
Ended = tuple[Mapping[str, Any] | None, Report | None]


class Line(Protocol):
    """The way to substations: the one seam where tests put a fake. No method outlasts its `timeout_s` (wall seconds)."""

    async def start(self) -> None:
        """Opens what it needs, in the event loop; before anything else."""
        ...

    async def stop(self) -> None:
        """Closes that."""
        ...

    async def charge(self, target: Target, request_id: str, body: bytes, timeout_s: float) -> Answer:
        """Asks for one session; never raises for what a substation does."""
        ...

    async def introduce(self, url: str, timeout_s: float) -> Introduction:
        """Who is at `url`; Silent where nobody says."""
        ...

    def identify(self, incarnation: int) -> None:
        """From now on this balancer asks as `incarnation`."""
        ...

    async def fence(self, target: Target, url: str, incarnation: int, timeout_s: float) -> None:
        """No charge of the balancer at `url` is taken any more up to `incarnation`; Silent where that is not known."""
        ...

    async def page(self, target: Target, timeout_s: float) -> Page:
        """Its report, or its metrics page where it sends none; Silent where there is neither."""
        ...

    async def sessions(self, target: Target, since_s: float, timeout_s: float) -> dict[str, Any]:
        """Its sessions that run, or ended after `since_s` (Unix): `{"epoch", "now_s", "sessions": […]}`; Silent without.

        They come in pages, and each of these has `timeout_s`.
        """
        ...

    async def session(self, target: Target, request_id: str, timeout_s: float) -> dict[str, Any] | None:
        """The record of one session, None where it knows none; Silent where nobody can say."""
        ...

    async def revoke(self, target: Target, request_id: str, attempt: int, timeout_s: float) -> Report | None:
        """Ends attempts up to `attempt` of a request; Silent where it is not known to have arrived."""
        ...

    async def cancel(self, target: Target, request_id: str, timeout_s: float) -> Ended:
        """Ends a session for good; what it is then, None where it knows none; Silent where that is not known."""
        ...


class HttpLine:
    """The real line of the balancer that listens at `url`. Opens its connections in `start`, closes them in `stop`.

    Own substations are brought the `token`, external ones never. Connections to external substations are never used twice:
    an answer that stays out on a reused one would leave open whether to repeat a request that is not idempotent there.
    Lists of sessions are asked for in pages of `on_a_page`.
    """

    def __init__(self, url: str = "", token: Token | None = None, on_a_page: int = MOST_ON_A_PAGE) -> None:
        self._on_a_page = on_a_page
        self._token = token
        self._headers: Mapping[str, str] = {BALANCER: url} if url else {}
        self._ways = Ways(self._named, lambda: Dialer(token))
        self._glances = Glances()

    async def start(self) -> None:
        """Opens the pools; in the event loop."""
        self._own = connections.pool(CONNECTIONS_PER_SUBSTATION, token=self._token)
        self._external = connections.pool(CONNECTIONS_PER_SUBSTATION, force_close=True)
        await self._ways.start()

    async def stop(self) -> None:
        """Closes all connections."""
        self._glances.close()
        await self._ways.stop()
        await self._own.close()
        await self._external.close()

    async def introduce(self, url: str, timeout_s: float) -> Introduction:
        """See `Line.introduce`: its `/health`, which has the name while it starts too."""
        try:
            async with self._own.get(
                URL(f"{url}/health"), timeout=connections.within(timeout_s), allow_redirects=False
            ) as response:
                said = object_of(await connections.read(response))
                report = report_of(response.headers)
        except connections.FAILURES as error:
            raise Silent(connections.said(error)) from error
        name, role = said.get("name"), said.get("role")
        if not (isinstance(name, str) and isinstance(role, str)):
            raise Silent(f"{url}/health answered {response.status} without name and role")
        return Introduction(name, role, None if report is None else report.epoch)

    def identify(self, incarnation: int) -> None:
        """See `Line.identify`."""
        if BALANCER in self._headers:
            self._headers = {**self._headers, INCARNATION: str(incarnation)}
            self._ways.leave()

    async def fence(self, target: Target, url: str, incarnation: int, timeout_s: float) -> None:
        """See `Line.fence`."""
        body = to_json({"balancer": url, "incarnation": incarnation})
        try:
            async with self._pool(target).post(
                URL(f"{target.url}/fences"),
                data=body,
                headers={**_JSON, **self._named(target)},
                timeout=connections.within(timeout_s),
                allow_redirects=False,
            ) as response:
                if response.status >= 300:
                    raise Silent(f"{target.url} answered {response.status}")
        except connections.FAILURES as error:
            raise Silent(connections.said(error)) from error

    async def charge(self, target: Target, request_id: str, body: bytes, timeout_s: float) -> Answer:
        """See `Line.charge`: on a stream where the substation takes one."""
        if target.external:
            return await self._charge_alone(target, request_id, body, timeout_s)
        until_s = time.monotonic() + timeout_s
        with suppress(NoStream):
            return await self._ways.charge(target, request_id, body, timeout_s)
        left_s = max(_SHORTEST_S, until_s - time.monotonic())
        return await self._charge_alone(target, request_id, body, left_s)

    def begin(self, target: Target, request_id: str, body: bytes, timeout_s: float, tell: Tell) -> bool:
        """See `services.balancer.ways.Begins`."""
        return not target.external and self._ways.begin(target, request_id, body, timeout_s, tell)

    async def _charge_alone(self, target: Target, request_id: str, body: bytes, timeout_s: float) -> Answer:
        headers = {**_JSON, "Idempotency-Key": request_id} if target.external else {**_JSON, **self._named(target)}
        try:
            with Hop("POST /charge", {SUBSTATION: target.name, REQUEST: request_id}) as hop:
                async with self._pool(target).post(
                    URL(f"{target.url}/charge"),
                    data=body,
                    headers={**headers, **hop.headers},
                    timeout=connections.within(timeout_s),
                    allow_redirects=False,
                ) as response:
                    hop.status = response.status
                    said = b"" if target.external else await connections.read(response)
                    return answer_of(target, response.status, report_of(response.headers), said)
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ConnectionTimeoutError,
            aiohttp.InvalidURL,
            UnicodeError,
        ) as error:
            return Answer(Result.UNREACHABLE, detail=connections.said(error))
        except (*connections.FAILURES, Silent) as error:
            return Answer(Result.UNKNOWN, detail=connections.said(error))

    async def page(self, target: Target, timeout_s: float) -> Page:
        """See `Line.page`: of our own the report is all that is asked for; where there is none, the whole page."""
        until_s = time.monotonic() + timeout_s
        if not target.external:
            with suppress(Odd, OSError, ValueError):
                headers = {**self._named(target), **(self._token.header() if self._token else {})}
                return Page(Report.decode(await self._glances.report(target.url, headers, timeout_s)), "")
            left_s = max(_SHORTEST_S, until_s - time.monotonic())
            _, page = await self._page(target, f"{target.url}/report", left_s)
            if page.report is not None:
                return page
        left_s = max(_SHORTEST_S, until_s - time.monotonic())
        status, page = await self._page(target, target.metrics_url, left_s)
        if page.report is None and status != 200:
            raise Silent(f"{target.metrics_url} answered {status}")
        return page

    async def _page(self, target: Target, url: str, timeout_s: float) -> tuple[int, Page]:
        try:
            async with self._pool(target).get(
                URL(url), headers=self._named(target), timeout=connections.within(timeout_s), allow_redirects=False
            ) as response:
                connections.demand_the_meant(response.status)
                text = (await connections.read(response)).decode("utf-8", "replace")
                return response.status, Page(report_of(response.headers), text)
        except connections.FAILURES as error:
            raise Silent(connections.said(error)) from error

    async def sessions(self, target: Target, since_s: float, timeout_s: float) -> dict[str, Any]:
        """See `Line.sessions`."""
        where = f"{target.url}/sessions?ended=1&since_s={since_s:.3f}&limit={self._on_a_page}"

        async def page(after: int) -> Mapping[str, Any]:
            return await self._get(target, f"{where}&after={after}", timeout_s) or {}

        return await in_one(page)

    async def session(self, target: Target, request_id: str, timeout_s: float) -> dict[str, Any] | None:
        """See `Line.session`."""
        return await self._get(target, f"{target.url}/sessions/{request_id}", timeout_s)

    async def revoke(self, target: Target, request_id: str, attempt: int, timeout_s: float) -> Report | None:
        """See `Line.revoke`."""
        return (await self._delete(target, f"{request_id}?attempt={attempt}", timeout_s))[1]

    async def cancel(self, target: Target, request_id: str, timeout_s: float) -> Ended:
        """See `Line.cancel`."""
        body, report = await self._delete(target, request_id, timeout_s)
        if body is not None and state_of(body.get("state")) is None:
            raise Silent(f"{target.url} does not say what became of it")
        return body, report

    async def _delete(self, target: Target, which: str, timeout_s: float) -> Ended:
        url = URL(f"{target.url}/sessions/{which}")
        hop = Hop("DELETE /sessions/{request_id}", {SUBSTATION: target.name, REQUEST: which.partition("?")[0]})
        headers = {**self._named(target), **hop.headers}
        try:
            with hop:
                async with self._pool(target).delete(
                    url, headers=headers, timeout=connections.within(timeout_s), allow_redirects=False
                ) as response:
                    hop.status = response.status
                    body = await connections.read(response)
                    connections.demand_the_meant(response.status)
                    unknown = is_unknown(response.status, response.content_type)
                    if response.status != 200 and not unknown:
                        raise Silent(f"{target.url} answered {response.status}")
                    return None if unknown else object_of(body), report_of(response.headers)
        except connections.FAILURES as error:
            raise Silent(connections.said(error)) from error

    async def _get(self, target: Target, url: str, timeout_s: float) -> dict[str, Any] | None:
        hop = Hop("GET /sessions", {SUBSTATION: target.name})
        headers = {**self._named(target), **hop.headers}
        try:
            with hop:
                async with self._pool(target).get(
                    URL(url), headers=headers, timeout=connections.within(timeout_s), allow_redirects=False
                ) as response:
                    hop.status = response.status
                    body = await connections.read(response, MOST_SESSIONS_BYTES)
                    if is_unknown(response.status, response.content_type):
                        return None
                    if response.status != 200:
                        raise Silent(f"{url} answered {response.status}")
                    return object_of(body)
        except connections.FAILURES as error:
            raise Silent(connections.said(error)) from error

    def _named(self, target: Target) -> Mapping[str, str]:
        if target.external:
            return {}
        return {**self._headers, MEANT: target.name} if target.learned else self._headers

    def _pool(self, target: Target) -> aiohttp.ClientSession:
        return self._external if target.external else self._own
