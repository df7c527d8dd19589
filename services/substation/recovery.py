"""Between a start and the end of reading the journal: what a substation says meanwhile. Must not know what is read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from config.problems import Problem
from services.journal import JournalError
from services.service import Health
from services.substation import answers

#: A service starts to answer once it knows what it has, or after this (wall seconds) with 503: connections can wait.
PATIENCE_S = 2.0
#: A journal that cannot be read is tried again this often (wall seconds).
RETRY_S = 0.2
#: What may pass by itself (the process before is still ending) counts as starting for so long (wall seconds).
GRACE_S = 5.0

_log = logging.getLogger(__name__)


class Recovery:
    """Runs `recover` until it succeeds; a failure that lasts ends the trying. `now_s` are monotonic wall seconds.

    Where `is_new` says that there is nothing to read, that takes no time, nor a task and a timer of its own: of a thousand
    that start together each has to copy what it touches.
    """

    def __init__(
        self, name: str, recover: Callable[[], Awaitable[None]], now_s: Callable[[], float], is_new: Callable[[], bool]
    ) -> None:
        self.done = False
        self.name = name
        self._recover = recover
        self._now_s = now_s
        self._is_new = is_new
        self._began_s = now_s()
        self._error: JournalError | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; returns once all is known, or after a while in which it is not."""
        if self._is_new():
            await self._run()
            return
        self._task = asyncio.ensure_future(self._run())
        await asyncio.wait({self._task}, timeout=PATIENCE_S)
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Stop trying."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while not self.done:
            try:
                await self._recover()
                self.done = True
            except JournalError as error:
                self._failed(error)
                if error.lasting:
                    return
                await asyncio.sleep(RETRY_S)

    def _failed(self, error: JournalError) -> None:
        if self._error is None or self._error.reason != error.reason:
            _log.error("the journal cannot be read", extra={"reason": error.reason, "detail": error.detail})
        self._error = error

    @property
    def problem(self) -> Problem | None:
        """What everybody is answered until it is done; None once it is."""
        if self.done:
            return None
        return answers.starting(self.name) if self._error is None else answers.unkept(self.name, self._error)

    @property
    def health(self) -> Health:
        """What the substation says of itself until it is done."""
        error = self._error
        if error is None:
            return Health("starting", blank=True)
        patient = not error.lasting and self._now_s() - self._began_s < GRACE_S
        about = {"reason": error.reason, "detail": error.detail}
        return Health("starting" if patient else "degraded", about, blank=True)
