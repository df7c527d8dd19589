"""A substation's list of sessions, asked for in pages: however many there are, no page takes long. Must not know HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from services.balancer.connections import Silent

#: Sessions on a page: some 3 MB, which either side is busy with for some 50 ms.
MOST_ON_A_PAGE = 10_000


async def in_one(page: Callable[[int], Awaitable[Mapping[str, Any]]]) -> dict[str, Any]:
    """All pages as one document, with the time and the epoch of the first; Silent where it restarted in between.

    `page` gives the sessions that follow after a number. What is over is on the last page: who ends meanwhile is not missed.
    """
    first = last = await page(0)
    found = list(_sessions(first))
    after = 0
    while isinstance(following := last.get("next"), int) and following > after:
        after = following
        last = await page(after)
        if last.get("epoch") != first.get("epoch"):
            raise Silent("it restarted while its sessions were asked for")
        found += _sessions(last)
    return {**first, "sessions": found} if after else dict(first)


def _sessions(page: Mapping[str, Any]) -> list[Any]:
    found = page.get("sessions")
    return found if isinstance(found, list) else []
