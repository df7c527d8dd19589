"""Members that were asked and are not answered yet, and when each has waited long enough. Must not know connections."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Final

from services.stream.wire import Said

#: Who has waited long enough is told at most this much later (wall seconds): all of one tick share a timer.
TICK_S: Final = 0.004

#: Told once what came of a member; must not ask anything itself before it returns, and must not raise.
Tell = Callable[[Said | Exception], None]


class Pending:
    """One member, until it is answered; the answer is worth nothing after `until_s` (the loop's time)."""

    __slots__ = ("_tell", "body", "headers", "number", "sent_s", "tick", "until_s")

    def __init__(self, body: bytes, until_s: float, headers: Mapping[str, str], tell: Tell | None) -> None:
        self.body = body
        self.until_s = until_s
        self.headers = headers
        self.number = 0
        self.sent_s: float | None = None
        self.tick: dict[Pending, None] | None = None
        self._tell = tell

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for its answer."""
        return self._tell is None

    def settle(self, what: Said | Exception) -> None:
        """What came of it; only the first counts."""
        tell, self._tell = self._tell, None
        if self.tick is not None:
            self.tick.pop(self, None)
        if tell is not None:
            tell(what)


class Awaited(Pending):
    """One for whose answer a coroutine waits."""

    __slots__ = ("heard",)

    def __init__(
        self, body: bytes, until_s: float, headers: Mapping[str, str], loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(body, until_s, headers, None)
        self.heard: asyncio.Future[Said] = loop.create_future()

    @property
    def is_over(self) -> bool:
        """See `Pending.is_over`; who was cancelled does not wait."""
        return self.heard.done()

    def settle(self, what: Said | Exception) -> None:
        """See `Pending.settle`."""
        self.drop()
        if self.heard.done():
            return
        if isinstance(what, Exception):
            self.heard.set_exception(what)
            self.heard.exception()  # whoever waited may be gone
        else:
            self.heard.set_result(what)

    def drop(self) -> None:
        """Nobody needs to be told any more that it has waited for long enough."""
        if self.tick is not None:
            self.tick.pop(self, None)


class Deadlines:
    """Calls `due` with each member that was added, unless it was settled, once its time has come; one timer for all."""

    def __init__(self, due: Callable[[Pending], None], context: Context) -> None:
        self._due = due
        self._context = context
        self._ticks: dict[int, dict[Pending, None]] = {}
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._armed = 0

    def add(self, member: Pending, at_s: float) -> None:
        """Its time comes at `at_s` (the loop's time)."""
        number = int(at_s / TICK_S) + 1
        tick = self._ticks.get(number)
        if tick is None:
            tick = self._ticks[number] = {}
            heapq.heappush(self._order, number)
            if self._timer is None or number < self._armed:
                self._arm()
        tick[member] = None
        member.tick = tick

    def close(self) -> None:
        """Nobody's time comes any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self.close()
        self._armed = self._order[0]
        self._timer = asyncio.get_running_loop().call_at(self._armed * TICK_S, self._look, context=self._context)

    def _look(self) -> None:
        self.close()
        now = max(self._armed, int(asyncio.get_running_loop().time() / TICK_S))
        late: list[Pending] = []
        while self._order and (self._order[0] <= now or not self._ticks[self._order[0]]):
            late += self._ticks.pop(heapq.heappop(self._order))
        for member in late:
            if not member.is_over:
                member.tick = None
                self._due(member)
        if self._order and self._timer is None:
            self._arm()
