"""Connections to substations and other balancers, with bounds on time and size. Must not know what is asked."""

from __future__ import annotations

import aiohttp

from config.access import Token
from config.report import MISDIRECTED
from services import clients

#: No answer is longer, but for lists.
MOST_ANSWER_BYTES = 2**20
#: How an exchange fails; ValueError: a host name that cannot be one is only found where it is looked up.
FAILURES = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


class Silent(Exception):
    """It did not answer, or with nothing that can be used; the message says what happened."""


async def read(response: aiohttp.ClientResponse, most: int = MOST_ANSWER_BYTES) -> bytes:
    """The body of `response`; Silent where it is longer than `most` (its connection is then not used again)."""
    body = await clients.read(response, most)
    if body is None:
        raise Silent(f"the answer is longer than {most} bytes")
    return body


def pool(per_host: int, force_close: bool = False, token: Token | None = None) -> aiohttp.ClientSession:
    """Connections, at most `per_host` to one, used again unless `force_close`; opened in the event loop.

    Each request brings `token`, so with one they are for the grid's own services only.
    """
    limits = {"limit": 0, "limit_per_host": per_host, "force_close": force_close}
    return clients.session(token, limits=limits)


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
