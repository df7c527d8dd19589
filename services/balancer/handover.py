"""Where a balancer leaves others behind, who waits in its queue goes on to wait at one of them. Must not know HTTP."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from services.balancer.attendant import Attendant
from services.balancer.forwarding import Forwarding, Passed
from services.balancer.queue import Waiting

#: So many are handed over at a time, for so long (wall seconds); who is left waits in the journal until the next start.
AT_A_TIME = 64
LONGEST_S = 2.0


class Handover:
    """Gives the queue of `attendant` to others through `forwarding`. `time_scale` is grid seconds per wall second."""

    def __init__(
        self, attendant: Attendant, forwarding: Forwarding, now_s: Callable[[], float], time_scale: float
    ) -> None:
        self._attendant = attendant
        self._forwarding = forwarding
        self._now_s = now_s
        self._time_scale = time_scale

    async def run(self) -> None:
        """Until nobody waits here any more, or time is over."""
        deadline_s = self._now_s() + LONGEST_S
        waiting = [one for one in self._attendant.queue if one.placing is None and not one.cancelled]
        for one in waiting:
            one.retry_at_s = math.inf  # it is not placed from here meanwhile
        turns = asyncio.Semaphore(AT_A_TIME)
        await asyncio.gather(*(self._give(one, turns, deadline_s) for one in waiting))

    async def _give(self, waiting: Waiting, turns: asyncio.Semaphore, deadline_s: float) -> None:
        async with turns:
            if self._now_s() < deadline_s and await self._taken(waiting, deadline_s):
                self._attendant.leave(waiting, "moved", None)
            else:
                waiting.retry_at_s = 0.0

    async def _taken(self, waiting: Waiting, deadline_s: float) -> bool:
        request = waiting.request
        if request.departure_in_s is not None:
            remaining_s = (waiting.until_at_s - self._now_s()) * self._time_scale
            request = request.model_copy(update={"departure_in_s": max(0.001, remaining_s)})
        answer = await self._forwarding.answer(request, deadline_s, forwarded=False)
        return isinstance(answer, Passed) and answer.status == 202
