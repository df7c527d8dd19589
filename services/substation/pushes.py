"""Tells balancers at once what their polls would tell them later; must not know what is told or why.

A balancer that names itself (header `Grid-Balancer`) when it asks is told for a while: after that it asks again anyway.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping

import aiohttp

from config.access import Token
from services import clients
from services.problem import to_json
from services.tracing import apart

#: The header by which a balancer says where it listens.
HEADER = "Grid-Balancer"
#: A balancer is told for this long after it was last heard (wall seconds).
REMEMBERED_S = 60.0
#: So many balancers are remembered; more are of no use, and whoever asks may claim to be one.
MOST = 32
#: A balancer that does not take it within this (wall seconds) will learn it from its next poll.
TIMEOUT_S = 1.0

_URL = re.compile(r"http://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?", re.ASCII)

_JSON = {"Content-Type": "application/json"}

#: Sends a JSON body to a URL; ConnectionError, aiohttp.ClientError or TimeoutError where nobody took it.
Post = Callable[[str, bytes], Awaitable[None]]

_log = logging.getLogger(__name__)


class Pushes:
    """Who is to be told, and the telling: `POST <balancer>/reports` with what `document` gives at that instant.

    `post` does it; None: over HTTP, and the balancer is brought `token`.
    """

    def __init__(
        self,
        now_s: Callable[[], float],
        document: Callable[[], Mapping[str, str]],
        post: Post | None = None,
        token: Token | None = None,
    ) -> None:
        self._now_s = now_s
        self._document = document
        self._post = post or self._http_post
        self._token = token
        self._heard: OrderedDict[str, float] = OrderedDict()
        self._due = False
        self._client: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def heard(self, headers: Mapping[str, str]) -> None:
        """A request came with `headers`; its sender is remembered where it is a balancer."""
        url = headers.get(HEADER, "")
        if url not in self._heard and not _URL.fullmatch(url):
            return
        self._heard[url] = self._now_s()
        self._heard.move_to_end(url)
        if len(self._heard) > MOST:
            self._heard.popitem(last=False)

    @property
    def telling(self) -> bool:
        """Whether somebody is just being told."""
        return bool(self._tasks)

    def soon(self) -> None:
        """Something changed that nobody could foresee: tell everybody, once for all that changes now."""
        if not self._due and self._heard:
            self._due = True
            asyncio.get_running_loop().call_soon(self._tell, context=apart())

    def _tell(self) -> None:
        self._due = False
        oldest_s = self._now_s() - REMEMBERED_S
        body = to_json(dict(self._document()))
        for url in [url for url, at_s in self._heard.items() if at_s >= oldest_s]:
            task = asyncio.ensure_future(self._try(f"{url}/reports", body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _http_post(self, url: str, body: bytes) -> None:
        if self._client is None:
            self._client = clients.session(self._token, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        async with self._client.post(url, data=body, headers=_JSON, allow_redirects=False):
            return

    async def _try(self, url: str, body: bytes) -> None:
        try:
            await self._post(url, body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # ValueError: no name of a host
            _log.debug("a balancer was not told", extra={"url": url, "detail": str(error)})

    async def stop(self) -> None:
        """Ends the telling."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
