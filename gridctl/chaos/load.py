"""The load under which chaos happens: independent EVs at a steady rate, and what each was told. Must not know faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
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

#: What came of a request to an address that was the grid's, and is another's by now.
STRANGER = "answered by another that took the port"

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


@dataclass(slots=True, eq=False)
class _Address:
    """Where requests go. `ours` None: nobody of ours is there any more, and who answers there is not known yet."""

    inner: Client
    ours: bool | None = True
    undecided: list[Callable[[], None]] = field(default_factory=list)


class Noting:
    """A client that notes what every request met, also while the grid dies and comes back, maybe at another address."""

    def __init__(
        self,
        inner: Client,
        now_s: Callable[[], float] = time.monotonic,
        unix_s: Callable[[], float] = time.time,
    ) -> None:
        self.replies: list[Reply] = []
        self.placed: list[Told] = []
        self._address = _Address(inner)
        self._now_s = now_s
        self._unix_s = unix_s

    def send(self, order: Order, done: Done) -> None:
        """See `Client.send`."""
        sent_s, address = self._now_s(), self._address

        def answered(outcome: Outcome) -> None:
            note = partial(noted, outcome, self._now_s(), self._unix_s())
            if address.ours is None and outcome.status is not None:
                address.undecided.append(note)
            else:
                note()

        def noted(outcome: Outcome, answered_s: float, unix_s: float) -> None:
            if address.ours is False and outcome.status is not None:
                outcome = Outcome("failed", STRANGER, status=outcome.status)
            late = outcome.timed_out or outcome.status == TOO_LATE
            self.replies.append(Reply(sent_s, answered_s, outcome.kind, late))
            if outcome.kind == "accepted":
                self.placed.append(Told(order.request_id, unix_s, outcome.substation))
            done(outcome)

        address.inner.send(order, answered)

    def leave(self) -> None:
        """Nobody of ours is at the address any more: whose the answers are that come from there, `arrive` says."""
        self._address.ours = None

    def arrive(self, inner: Client, same: bool) -> None:
        """From now on requests go through `inner`. Where that is not the `same` address, another one answered at the old."""
        old, self._address = self._address, _Address(inner)
        self._decide(old, same)

    def give_up(self) -> None:
        """The grid did not come back: whoever answered meanwhile is none of ours."""
        self._decide(self._address, False)

    @staticmethod
    def _decide(address: _Address, ours: bool) -> None:
        address.ours = ours
        undecided, address.undecided = address.undecided, []
        for note in undecided:
            note()


def places(snapshot: Mapping[str, Any]) -> int:
    """How many sessions fit into the grid at once, by a supervisor's snapshot; at least 1."""
    return max(1, sum(int(entry.get("max_sessions") or 0) for entry in snapshot["substations"]))
