"""How many clients are connected, and which of them take too long. Must not know HTTP.

Whoever is in the middle of a request is in one line, oldest first, and one timer looks at its head: who sends and takes what
he should at once is hardly noticed here.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable
from typing import Protocol

from config.access import PATIENT, Patience

#: Beyond the most connections so many more are taken, for a probe of health or a word of refusal.
RESERVE = 32
#: An answer that is taken by less than this within the time for it is taken too slowly.
_PROGRESS_BYTES = 1 << 16

_log = logging.getLogger(__name__)


class Visit(Protocol):
    """One connection."""

    def send_away(self, status: int) -> bool:
        """Ends it with an answer of `status`, or without where one was begun; False: not now, it waits for an answer."""
        ...

    def cut(self) -> None:
        """Ends it at once."""
        ...

    def waiting_bytes(self) -> int:
        """How much of its answers was not taken yet."""
        ...


class Visits:
    """All connections of one service. One event loop only."""

    def __init__(
        self, patience: Patience = PATIENT, most: int | None = None, left: Callable[[], None] = lambda: None
    ) -> None:
        """`left` is called whenever one of them is gone."""
        self.patience = patience
        self._left = left
        self._most = min(patience.max_connections, _most_sockets()) if most is None else most
        self._unfinished: dict[Visit, float] = {}
        self._untaken: dict[Visit, tuple[float, int]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.count = 0

    def enter(self, visit: Visit) -> bool:
        """Somebody connected. Where there are too many, who dawdles longest makes room; False where nobody does."""
        self.count += 1
        if self.count <= self._most:
            self.begin(visit)
            return True
        displaced = next((each for each in self._unfinished if each.send_away(503)), None)
        if displaced is not None:
            self._unfinished.pop(displaced, None)
        elif self.count > self._most + RESERVE:
            visit.cut()
            return False
        self.begin(visit)
        return displaced is not None

    def leave(self, visit: Visit) -> None:
        """Its connection is closed."""
        self.count -= 1
        self._unfinished.pop(visit, None)
        self._untaken.pop(visit, None)
        self._left()

    def begin(self, visit: Visit) -> None:
        """It began to send something, or may now."""
        loop = asyncio.get_running_loop()
        self._unfinished[visit] = loop.time() + self.patience.client_timeout_s
        self._arm(loop)

    def finish(self, visit: Visit) -> None:
        """All of what it began to send has come."""
        self._unfinished.pop(visit, None)

    def clog(self, visit: Visit) -> None:
        """It does not take its answer as fast as it is given."""
        loop = asyncio.get_running_loop()
        self._untaken[visit] = (loop.time() + self.patience.client_timeout_s, visit.waiting_bytes())
        self._arm(loop)

    def flow(self, visit: Visit) -> None:
        """It takes its answer again."""
        self._untaken.pop(visit, None)

    def close(self) -> None:
        """Ends the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None:
            self._timer = loop.call_later(min(1.0, self.patience.client_timeout_s / 8), self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now_s = loop.time()
        late = self._send_late_away(now_s)
        slow = self._cut_slow(now_s)
        if late or slow:
            _log.warning("clients were too slow", extra={"sending": late, "taking": slow})
        if self._unfinished or self._untaken:
            self._arm(loop)

    def _send_late_away(self, now_s: float) -> int:
        late = 0
        while self._unfinished:
            visit, until_s = next(iter(self._unfinished.items()))
            if until_s > now_s:
                break
            del self._unfinished[visit]
            if visit.send_away(408):
                late += 1
            else:
                self._unfinished[visit] = now_s + self.patience.client_timeout_s
        return late

    def _cut_slow(self, now_s: float) -> int:
        due = [(visit, left) for visit, (until_s, left) in self._untaken.items() if until_s <= now_s]
        slow = 0
        for visit, left in due:
            if visit.waiting_bytes() > left - _PROGRESS_BYTES:
                del self._untaken[visit]
                visit.cut()
                slow += 1
            else:
                self.clog(visit)
        return slow


def _most_sockets() -> int:
    """What this process may hold: its files, less a quarter for journals, logs and its own connections to others."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else max(8, soft * 3 // 4)
