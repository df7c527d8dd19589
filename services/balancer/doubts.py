"""Attempts that may have started a session nobody was told of, because their balancer died before it heard.

Quick attempts are in nobody's doubt: only one that stays out for a while is journaled, so the usual case costs nothing.
Must not know how an attempt is made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from services.balancer.journal import Attempt, BalancerJournal

#: An attempt that was not answered for this long is journaled (wall seconds).
SLOW_S = 0.1


class Doubts:
    """What a former run left in doubt, by request, and the watch over the attempts of this one."""

    def __init__(self, journal: BalancerJournal | None = None) -> None:
        self._journal = journal or BalancerJournal(None, "process", time.time)
        self._left: dict[str, dict[str, int]] = {}

    def resume(self, attempts: Iterable[Attempt]) -> None:
        """Takes over the attempts whose outcome a former run did not live to know."""
        for attempt in attempts:
            if attempt.revoked_s is None:
                self._left.setdefault(attempt.request_id, {})[attempt.substation] = attempt.attempt

    def doubt(self, substation: str, request_id: str, attempt: int) -> None:
        """A session of `attempt` was found at `substation`, and nobody here knows whether it shall live."""
        self._left.setdefault(request_id, {})[substation] = attempt

    def of(self, request_id: str) -> list[tuple[str, int]]:
        """The substations, each with its attempt, where a session of `request_id` may be that was not found yet."""
        return list(self._left.get(request_id, {}).items())

    def settle(self, substation: str, request_id: str, attempt: int) -> None:
        """What became of `attempt`, or a higher one, at `substation` is known now."""
        left = self._left.get(request_id)
        if left is None or left.get(substation, attempt + 1) > attempt:
            return
        del left[substation]
        if not left:
            del self._left[request_id]
        self._journal.settled(substation, request_id, attempt)

    async def announce(self, substation: str, request_id: str, attempt: int) -> None:
        """Journals `attempt` before it is made, for a request that the balancer itself will send again after a crash.

        JournalError where that cannot be. Whoever ends the request's wait settles it.
        """
        self._journal.sent(substation, request_id, attempt)
        await self._journal.survives()

    def retract(self, substation: str, request_id: str, attempt: int) -> None:
        """What was announced did not start a session."""
        self._journal.settled(substation, request_id, attempt)

    @contextmanager
    def watched(self, substation: str, request_id: str, attempt: int, announced: bool) -> Iterator[None]:
        """While `attempt` is out: journals it where it is slow, and its end where that was done and nobody else will."""
        if announced:
            yield
            return
        noted = False

        def note() -> None:
            nonlocal noted
            noted = True
            self._journal.sent(substation, request_id, attempt)

        timer = asyncio.get_running_loop().call_later(SLOW_S, note)
        try:
            yield
        except asyncio.CancelledError:
            noted = False  # nobody knows
            raise
        finally:
            timer.cancel()
            if noted:
                self._journal.settled(substation, request_id, attempt)
