"""How simulated clients reach balancers: over HTTP of their own, or together over streams, as the request service does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from typing import Any
from zlib import crc32

from services.deadline import grant
from services.stream.caller import Caller
from services.stream.wire import Said
from tests.services.simulation.network import Network, Reply
from tests.services.simulation.streams import Lines

#: Who asks, in the weather's words.
CLIENT = "client"


class Asking:
    """The client's side of every connection to `urls`. Of all requests half go either way, the same one always the same."""

    def __init__(self, network: Network, urls: Mapping[str, str]) -> None:
        lines = Lines(network, CLIENT)
        self._network = network
        self._urls = urls
        self._callers = {desk: Caller(partial(lines.dial, url, {})) for desk, url in urls.items()}

    async def ask(self, desk: str, request_id: str, document: Mapping[str, Any], patience_s: float) -> Reply:
        """The answer of `desk`; ConnectionError or TimeoutError where there is none within `patience_s`."""
        body = json.dumps(document).encode()
        if crc32(request_id.encode()) % 2:
            heard = await self._callers[desk].ask(body, patience_s)
            return _reply(heard)
        return await self._network.ask(CLIENT, self._urls[desk], "POST", "/route", body, grant(patience_s), patience_s)

    async def close(self) -> None:
        """Ends all connections."""
        await asyncio.gather(*(caller.close() for caller in self._callers.values()))


def _reply(heard: Said) -> Reply:
    return Reply(heard.status, {}, heard.body)
