"""Who waits for a place: the earliest departure first, then arrival. Pure: must not know clocks, journals or substations."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Literal

from config.messages import ChargeRequest

#: So many that left without a place are remembered, to say what became of them.
MOST_REMEMBERED = 100_000

#: How a request left the queue without a place.
Gone = Literal["cancelled", "dropped", "moved"]


@dataclass(slots=True, eq=False)
class Waiting:
    """A request that waits until `until_at_s` (wall seconds, monotonic), the `number`-th that came.

    `power_w` is what it would draw, `least_w` what it draws for certain. While it is being placed, `placing` is that task;
    where that failed it is tried again at `retry_at_s`, and not at all once it is `cancelled`. It is placed in the
    `context` of who asked for it, so in that trace.
    """

    request: ChargeRequest
    request_id: str
    number: int
    queued_at_s: float
    until_at_s: float
    power_w: int
    least_w: int
    placing: asyncio.Future[Any] | None = None
    failures: int = 0
    retry_at_s: float = 0.0
    cancelled: bool = False
    context: Context = field(default_factory=copy_context, compare=False, repr=False)

    @property
    def ev_id(self) -> str:
        """The EV that waits."""
        return self.request.ev_id

    @property
    def turn(self) -> tuple[float, int]:
        """Its place among all: less is served before more."""
        return self.until_at_s, self.number

    @property
    def reason(self) -> str:
        """Why it is dropped once its time is over."""
        return "max-wait" if self.request.departure_in_s is None else "departed"


@dataclass(frozen=True, slots=True)
class Left:
    """What became of a request that left the queue without a place."""

    ev_id: str
    state: Gone
    reason: str | None


class Queue:
    """The waiting requests of one balancer, at most `limit`; iterated in the order in which they are served."""

    def __init__(self, limit: int, most_remembered: int = MOST_REMEMBERED) -> None:
        self.limit = limit
        self.numbers = 0
        self._most_remembered = most_remembered
        self._order: list[tuple[float, int, Waiting]] = []
        self._by_request: dict[str, Waiting] = {}
        self._by_ev: dict[str, Waiting] = {}
        self._left: OrderedDict[str, Left] = OrderedDict()

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Waiting]:
        return (waiting for _, _, waiting in self._order)

    def next_number(self) -> int:
        """A number above all that were given."""
        self.numbers += 1
        return self.numbers

    def add(self, waiting: Waiting) -> None:
        """Takes `waiting` in at its place."""
        self.numbers = max(self.numbers, waiting.number)
        insort(self._order, (waiting.until_at_s, waiting.number, waiting))
        self._by_request[waiting.request_id] = waiting
        self._by_ev[waiting.ev_id] = waiting

    def remove(self, waiting: Waiting) -> None:
        """Takes `waiting`, which is in it, out."""
        del self._order[self._index(waiting)]
        del self._by_request[waiting.request_id]
        if self._by_ev.get(waiting.ev_id) is waiting:
            del self._by_ev[waiting.ev_id]

    def find(self, request_id: str) -> Waiting | None:
        """Who waits by this request."""
        return self._by_request.get(request_id)

    def of_ev(self, ev_id: str) -> Waiting | None:
        """The request by which this EV waits."""
        return self._by_ev.get(ev_id)

    def position(self, waiting: Waiting) -> int:
        """Its place: 1 is served next."""
        return self._index(waiting) + 1

    def first(self) -> Waiting | None:
        """Who has the least time left."""
        return self._order[0][2] if self._order else None

    def remember(self, request_id: str, left: Left) -> None:
        """Keeps what became of a request that left without a place."""
        self._left[request_id] = left
        if len(self._left) > self._most_remembered:
            self._left.popitem(last=False)

    def left(self, request_id: str) -> Left | None:
        """What became of a request that left without a place; None of one that did not, or long ago."""
        return self._left.get(request_id)

    def _index(self, waiting: Waiting) -> int:
        return bisect_left(self._order, (waiting.until_at_s, waiting.number))
