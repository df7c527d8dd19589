"""Attempts that may have started a session nobody was told of, because their balancer died before it heard.

Quick attempts are in nobody's doubt: only one that stays out for a while is journaled, so the usual case costs nothing.
Must not know how an attempt is made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from functools import cached_property

from services.balancer.journal import Attempt, BalancerJournal
from services.tracing import CURRENT, REQUEST_ID

#: An attempt that was not answered for this long is journaled (wall seconds).
SLOW_S = 0.1
#: Timers may be early by so much (wall seconds).
_EARLY_S = 0.001


class Watch:
    """One attempt that is out; from `slow_s` on (the loop's time) it is slow. `noted`: it is in the journal."""

    __slots__ = ("attempt", "noted", "request_id", "slow_s", "substation")

    def __init__(self, substation: str, request_id: str, attempt: int, slow_s: float) -> None:
        self.substation = substation
        self.request_id = request_id
        self.attempt = attempt
        self.slow_s = slow_s
        self.noted = False


class Doubts:
    """What a former run left in doubt, by request, and the watch over the attempts of this one."""

    def __init__(self, journal: BalancerJournal | None = None) -> None:
        self._journal = journal or BalancerJournal(None, "process", time.time)
        self._left: dict[str, dict[str, int]] = {}
        self._watched: dict[Watch, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._context: Context | None = None

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()  # this asks the kernel each time, until Python 3.11

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
        left = self._left.get(request_id)
        return [] if left is None else list(left.items())

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
        with self.watching(self.watch(substation, request_id, attempt)):
            yield

    @contextmanager
    def watching(self, watch: Watch) -> Iterator[None]:
        """`unwatch` at the end; after a cancellation nobody knows what became of it."""
        try:
            yield
        except asyncio.CancelledError:
            watch.noted = False
            raise
        finally:
            self.unwatch(watch)

    def watch(self, substation: str, request_id: str, attempt: int) -> Watch:
        """Until `unwatch`: journals `attempt` where it is slow."""
        watch = Watch(substation, request_id, attempt, self._loop.time() + SLOW_S)
        self._watched[watch] = None
        if self._timer is None:
            self._arm(watch.slow_s)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """What became of it is known, or is of no interest: journals that, where the attempt was."""
        self._watched.pop(watch, None)
        if watch.noted:
            self._journal.settled(watch.substation, watch.request_id, watch.attempt)

    def _arm(self, at_s: float) -> None:
        if self._context is None:
            self._context = copy_context()  # what belongs to a request does not belong to all that follow
            self._context.run(CURRENT.set, None)
            self._context.run(REQUEST_ID.set, "")
        self._timer = self._loop.call_at(at_s, self._look, context=self._context)

    def _look(self) -> None:
        """Notes who is slow; as all are given the same time, who began first is slow first."""
        self._timer = None
        while self._watched:
            watch = next(iter(self._watched))
            if watch.slow_s > self._loop.time() + _EARLY_S:
                self._arm(watch.slow_s)
                return
            del self._watched[watch]
            watch.noted = True
            self._journal.sent(watch.substation, watch.request_id, watch.attempt)
