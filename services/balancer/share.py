"""One balancer as its membership sees it: what it holds for others, and what others tell of sessions and substations.

Must not know who lives or how notes travel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from config.gossip import Placed
from config.report import Report
from services.balancer.attendant import Attendant
from services.balancer.book import Entry
from services.balancer.dispatch import Dispatch
from services.balancer.line import Line
from services.balancer.membership import Members
from services.balancer.placement import Placer
from services.balancer.watch import Watch

#: What is held for others can only grow less while the members are the same; it is counted so often (wall seconds).
COUNTED_EACH_S = 0.25


class Share:
    """See `services.balancer.part.Part`."""

    def __init__(
        self, members: Members, line: Line, placer: Placer, watch: Watch, dispatch: Dispatch, attendant: Attendant
    ) -> None:
        self._members = members
        self._line = line
        self._placer = placer
        self._watch = watch
        self._dispatch = dispatch
        self._attendant = attendant
        self._now_s: Callable[[], float] = placer.now_s
        self._counts: dict[str, int] = {}
        self._counted_at_s = -math.inf
        self._counted_for: dict[str, int] = {}

    def identify(self, incarnation: int) -> None:
        """See `Part.identify`."""
        self._line.identify(incarnation)

    async def collect(self) -> None:
        """See `Part.collect`."""
        await self._watch.recollect()

    def begin_term(self, first_attempt: int) -> None:
        """See `Part.begin_term`."""
        self._placer.book.first_attempt = first_attempt

    def highest_attempt(self) -> int:
        """See `Part.highest_attempt`."""
        return self._placer.book.highest_attempt()

    def held_for(self, url: str) -> int:
        """See `Part.held_for`."""
        up = {peer.url: peer.incarnation for peer in self._members.up}
        if up != self._counted_for or (self._counts and self._now_s() - self._counted_at_s >= COUNTED_EACH_S):
            self._count(up)
        return self._counts.get(url, 0)

    def _count(self, up: dict[str, int]) -> None:
        self._counts, self._counted_for, self._counted_at_s = {}, up, self._now_s()
        for ev_id in self._dispatch.in_hand():
            owner = self._members.whose(ev_id)
            if owner in up:
                self._counts[owner] = self._counts.get(owner, 0) + 1

    def waiting(self) -> Sequence[str]:
        """See `Part.waiting`."""
        return [waiting.request_id for waiting in self._attendant.queue]

    def knows(self, request_ids: Sequence[str]) -> list[str]:
        """See `Part.knows`."""
        return [request_id for request_id in request_ids if self._dispatch.knows(request_id)]

    def yielded(self, request_ids: Sequence[str]) -> None:
        """See `Part.yielded`."""
        for request_id in request_ids:
            waiting = self._attendant.queue.find(request_id)
            if waiting is not None and waiting.placing is None:
                self._attendant.leave(waiting, "moved", None)

    def placed_elsewhere(self, placed: Sequence[Placed]) -> None:
        """See `Part.placed_elsewhere`."""
        now_s = self._now_s()
        self._dispatch.told(
            [
                Entry(one.request_id, one.ev_id, one.substation, one.attempt, now_s + one.ends_in_s, one.epoch)
                for one in placed
            ]
        )

    def reported(self, substation: str, text: str) -> None:
        """See `Part.reported`."""
        account = self._placer.ledger.get(substation)
        try:
            report = Report.decode(text)
        except ValueError:
            return
        if account is not None and account.fold(report, -math.inf, self._now_s()):
            self._watch.look(substation)
