"""How services reach each other over HTTP: the same clients for all of them. Must not know what is asked, or of whom."""

from __future__ import annotations

from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver

from config.access import Token
from services.certificates import Trusting

#: An address is believed for so long (wall seconds; aiohttp's own is 10): a restarted container has another. Not for no time
#: at all, or a burst of new connections would be a burst of questions.
BELIEVED_S = 1


def session(
    token: Token | None = None,
    resolver: AbstractResolver | None = None,
    limits: dict[str, Any] | None = None,
    **more: Any,
) -> aiohttp.ClientSession:
    """Connections, opened in the event loop; each request brings `token`, so with one they are for the grid's own services.

    `resolver` finds the addresses of host names (None: the system's); `limits` are aiohttp's for a TCPConnector, and `more`
    for a ClientSession.
    """
    connector = aiohttp.TCPConnector(ttl_dns_cache=BELIEVED_S, resolver=resolver, ssl=Trusting(), **(limits or {}))
    return aiohttp.ClientSession(
        connector=connector,
        headers=None if token is None else token.header(),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        **more,
    )


async def read(response: aiohttp.ClientResponse, most: int) -> bytes | None:
    """The body of `response`; None where it is longer than `most` (its connection is then not used again)."""
    if (response.content_length or 0) <= most:
        chunks, size = [], 0
        async for chunk in response.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > most:
                break
        else:
            return b"".join(chunks)
    response.close()
    return None
