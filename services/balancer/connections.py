"""Connections to substations and other balancers, with bounds on time and size. Must not know what is asked."""

from __future__ import annotations

import aiohttp

from config.access import Token
from config.report import MISDIRECTED
from services import addresses
from services.certificates import Trusting

#: No answer is longer, but for lists.
MOST_ANSWER_BYTES = 2**20
#: How an exchange fails; ValueError: a host name that cannot be one is only found where it is looked up.
FAILURES = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


class Silent(Exception):
    """It did not answer, or with nothing that can be used; the message says what happened."""


async def read(response: aiohttp.ClientResponse, most: int = MOST_ANSWER_BYTES) -> bytes:
    """The body of `response`; Silent where it is longer than `most` (its connection is then not used again)."""
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
    raise Silent(f"the answer is longer than {most} bytes")


def pool(per_host: int, force_close: bool = False, token: Token | None = None) -> aiohttp.ClientSession:
    """Connections, at most `per_host` to one, used again unless `force_close`; opened in the event loop.

    Each request brings `token`, so with one they are for the grid's own services only.
    """
    connector = aiohttp.TCPConnector(
        limit=0,
        limit_per_host=per_host,
        force_close=force_close,
        ttl_dns_cache=addresses.BELIEVED_S,
        ssl=Trusting(),
    )
    return aiohttp.ClientSession(
        connector=connector,
        headers=None if token is None else token.header(),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
    )


def within(timeout_s: float) -> aiohttp.ClientTimeout:
    """All of an exchange within `timeout_s`, and of that four fifths at most for the connection.

    The rest tells "not connected, so nothing sent" from "sent and not answered".
    """
    return aiohttp.ClientTimeout(total=timeout_s, connect=timeout_s * 0.8, ceil_threshold=float("inf"))


def said(error: BaseException) -> str:
    """What happened, in words."""
    return str(error) or type(error).__name__


def demand_the_meant(status: int) -> None:
    """Silent where whoever answered so is somebody else."""
    if status == MISDIRECTED:
        raise Silent("whoever is there is not meant (421)")
