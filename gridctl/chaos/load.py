"""The load under which chaos happens: independent EVs at a steady rate, and what each was told. Must not know faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, NamedTuple

from gridctl.chaos.costs import Reply
from gridctl.loadtest import pacing
from gridctl.loadtest.arrivals import Arrival, Order
from gridctl.loadtest.client import Client, Done, Outcome

#: Sessions are so long, on average, that this share of the grid's places is taken …
SHARE = 0.8
#: … but no longer than this, and none shorter than that (wall seconds).
LONGEST_S = 30.0
SHORTEST_S = 0.05

#: What the grid answers when time is over before it could place.
TOO_LATE = 504


class Told(NamedTuple):
    """What a client was told of its request, at `at_s` (Unix time): the placed ones, for the audit."""

    request_id: str
    at_s: float
    substation: str | None


def mean_session_s(places: int, rate: float) -> float:
    """How long sessions should be on average (wall seconds), so that `rate` a second take about SHARE of `places`."""
    return min(LONGEST_S, max(SHORTEST_S, SHARE * places / rate))


def arrivals(seed: int, rate: float, duration_s: float, mean_s: float, time_scale: float) -> Iterator[Arrival]:
    """EVs at `rate` a wall second (a Poisson process), each for an exponential time of mean `mean_s` (wall seconds)."""
    lengths = Random(f"{seed}/lengths")
    times = pacing.poisson(pacing.constant(rate, duration_s), Random(f"{seed}/times"))
    for at_s in times:
        length_s = min(5 * mean_s, max(SHORTEST_S, lengths.expovariate(1 / mean_s)))
        yield Arrival(at_s, {"duration_s": round(length_s * time_scale, 3)})


class Noting:
    """A client that notes what every request met. `inner` may change when the grid moves to another address."""

    def __init__(
        self,
        inner: Client,
        now_s: Callable[[], float] = time.monotonic,
        unix_s: Callable[[], float] = time.time,
    ) -> None:
        self.inner = inner
        self.replies: list[Reply] = []
        self.placed: list[Told] = []
        self._now_s = now_s
        self._unix_s = unix_s

    def send(self, order: Order, done: Done) -> None:
        """See `Client.send`."""
        sent_s = self._now_s()

        def noted(outcome: Outcome) -> None:
            late = outcome.timed_out or outcome.status == TOO_LATE
            self.replies.append(Reply(sent_s, self._now_s(), outcome.kind, late))
            if outcome.kind == "accepted":
                self.placed.append(Told(order.request_id, self._unix_s(), outcome.substation))
            done(outcome)

        self.inner.send(order, noted)


def places(snapshot: Mapping[str, Any]) -> int:
    """How many sessions fit into the grid at once, by a supervisor's snapshot; at least 1."""
    return max(1, sum(int(entry.get("max_sessions") or 0) for entry in snapshot["substations"]))
