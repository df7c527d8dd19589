"""What balancers that are no more left behind: queues and open attempts become this one's. Must not know HTTP.

Where a topology has fewer balancers than before, nobody would read the journals of the others again, though who waits there
was answered 202. So the first balancer, which there always is, takes them over: it writes what they hold into its own
journal, then notes in theirs that it did. Killed in between, it does both again: what it has already it leaves as it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from config.names import BALANCER
from config.settings import BalancerSettings
from services.balancer.dispatch import Dispatch
from services.balancer.journal import BalancerJournal, Contents
from services.journal import JournalError

#: The journal of one that is still stopping is tried again this often (wall seconds).
RETRY_S = 0.2

_log = logging.getLogger(__name__)


class Inheritance:
    """Takes over for a balancer of `settings`: into its `journal`, then to `take`.

    `open_journal` opens one that was left; `number` gives places in the queue of this one, `dispatch` knows its requests.
    """

    def __init__(
        self,
        settings: BalancerSettings,
        journal: BalancerJournal,
        open_journal: Callable[[str], BalancerJournal],
        dispatch: Dispatch,
        number: Callable[[], int],
        take: Callable[[Contents], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._open = open_journal
        self._dispatch = dispatch
        self._number = number
        self._take = take
        self._sleep = sleep
        self._told: set[tuple[Path, str]] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Until all is taken over that nobody else has open; what one that still stops cannot hand over follows."""
        left = await self._inherit_all(self._left())
        if left:
            self._task = asyncio.ensure_future(self._run(left))

    async def stop(self) -> None:
        """Ends it; what was not taken over yet waits for the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _left(self) -> list[Path]:
        """The journals beside our own whose balancers are none of the replicas."""
        names, own = self._settings.replicas, self._settings.journal
        if own is None or not names:
            return []
        with suppress(OSError):
            return sorted(path for path in Path(own).parent.glob(f"{BALANCER}*.db") if path.stem not in names)
        return []

    async def _run(self, left: list[Path]) -> None:
        while left:
            await self._sleep(RETRY_S)
            left = await self._inherit_all(left)

    async def _inherit_all(self, left: list[Path]) -> list[Path]:
        return [path for path in left if not await self._inherit(path)]

    async def _inherit(self, path: Path) -> bool:
        """Whether nothing is left to do for `path`."""
        theirs = self._open(str(path))
        try:
            found = (await theirs.load()).open
            if any(self._dispatch.places(row.request_id) for row in found.queue):
                return False  # its client asks again, or its former balancer hands it over: what comes of that decides
            new = [row for row in found.queue if not self._dispatch.knows(row.request_id)]
            kept = Contents(found.attempts, tuple(replace(row, number=self._number()) for row in new))
            with self._dispatch.runs.reserved([row.request_id for row in new]):
                await self._journal.inherit(kept)
                self._take(kept)
            await theirs.pass_on(found)
        except JournalError as error:
            self._say(path, error)
            return error.lasting
        finally:
            await theirs.close()
        if found != Contents():
            _log.info("took over what was left", extra={"journal": str(path), "requests": len(new)})
        return True

    def _say(self, path: Path, error: JournalError) -> None:
        if (path, error.reason) not in self._told:
            self._told.add((path, error.reason))
            extra = {"journal": str(path), "reason": error.reason, "detail": error.detail}
            _log.warning("what is left cannot be taken over", extra=extra)
