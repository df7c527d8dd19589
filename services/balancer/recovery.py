"""After a start: first what the journal holds, then what runs at every substation that can be reached; until then nothing
is placed. Must not know HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from config.problems import Problem
from services.balancer import refusals
from services.balancer.journal import BalancerJournal, Contents
from services.journal import JournalError

#: A journal that cannot be read (the process before is still ending) is tried again this often (wall seconds).
RETRY_S = 0.2
#: A service starts to answer once it has read its journal, or after this (wall seconds): connections can wait.
PATIENCE_S = 2.0

_log = logging.getLogger(__name__)


class Recovery:
    """`restore`s what `journal` holds, then lets `follow` begin to look at substations.

    It is `ready` once those were `heard` and it has `join`ed the other balancers, and lets the rest `begin`.
    """

    def __init__(
        self,
        journal: BalancerJournal,
        restore: Callable[[Contents], None],
        follow: Callable[[], Awaitable[None]],
        heard: asyncio.Event,
        join: Callable[[], Awaitable[None]],
        begin: Callable[[], None],
    ) -> None:
        self.ready = asyncio.Event()
        self.error: JournalError | None = None
        self._journal = journal
        self._restore = restore
        self._follow = follow
        self._heard = heard
        self._join = join
        self._begin = begin
        self._task: asyncio.Task[None] | None = None

    @property
    def problem(self) -> Problem:
        """What a request is answered that cannot wait until it is `ready`."""
        return refusals.recovering() if self.error is None else refusals.unread(self.error)

    @property
    def stuck(self) -> bool:
        """Whether only somebody's hand mends what it cannot read: nobody need wait for it."""
        return self.error is not None and self.error.lasting

    async def start(self) -> None:
        """Begins; returns once the journal is read, or after a while in which it is not. Raises what `follow` does."""
        began = asyncio.Event()
        self._task = asyncio.ensure_future(self._run(began))
        waiting = asyncio.ensure_future(began.wait())
        await asyncio.wait({self._task, waiting}, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Stops trying."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, began: asyncio.Event) -> None:
        contents = await self._load()
        if contents is None:
            return
        self._restore(contents)
        await self._follow()
        began.set()
        await self._heard.wait()
        await self._join()
        self.ready.set()
        self._begin()

    async def _load(self) -> Contents | None:
        while True:
            try:
                contents = await self._journal.load()
            except JournalError as error:
                if self.error is None or self.error.reason != error.reason:
                    _log.error("the journal cannot be read", extra={"reason": error.reason, "detail": error.detail})
                self.error = error
                if error.lasting:
                    return None
                await asyncio.sleep(RETRY_S)
            else:
                self.error = None
                return contents
