"""Who was placed where: by request, so that the same request gets the same answer, and by EV. Pure: time is passed in."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Collection
from operator import attrgetter
from typing import Literal, get_args

#: A placed request is remembered this long after its planned end (wall seconds) …
WINDOW_S = 600.0
#: … unless more than this many are remembered; those that still charge are never forgotten.
MOST_REMEMBERED = 200_000
#: No balancer gets so far; who asks a substation itself may call his attempt as he likes, up to the last one that is taken.
MOST_NUMBERED = 10**8
#: Entries whose planned ends lie this near (wall seconds) lie together: a heap of all costs more, the more are remembered.
_TICK_S = 0.25
_END_S = attrgetter("ends_at_s")


#: What became of a request that was placed, in the substations' words; `ended` where nothing came between.
State = Literal["charging", "ended", "cancelled", "dropped", "revoked"]
STATES: frozenset[str] = frozenset(get_args(State))


def state_of(found: object) -> State | None:
    """`found` as a state; None where it is none, whatever it is."""
    return next((state for state in get_args(State) if found == state), None)


class Entry:
    """A request that was placed: at `substation`, by `attempt`, to charge until `ends_at_s` (wall, monotonic).

    `epoch` is the substation's, at the time; None where it sends no report. It is `charging` unless it is known to have
    ended before its plan, for a `reason`. One that is not `sure` was found at its substation: the balancer that began it
    may have given it up.
    """

    __slots__ = (
        "attempt", "ends_at_s", "epoch", "ev_id", "reason", "request_id", "state", "substation", "sure",
    )  # fmt: skip

    def __init__(
        self,
        request_id: str,
        ev_id: str,
        substation: str,
        attempt: int,
        ends_at_s: float,
        epoch: int | None,
        state: State = "charging",
        sure: bool = True,
    ) -> None:
        self.request_id = request_id
        self.ev_id = ev_id
        self.substation = substation
        self.attempt = attempt
        self.ends_at_s = ends_at_s
        self.epoch = epoch
        self.state: State = state
        self.reason: str | None = None
        self.sure = sure

    @property
    def is_hearsay(self) -> bool:
        """Whether it was found to charge, and its client may never have been told of it."""
        return not self.sure and self.state == "charging"

    def state_at(self, now_s: float) -> State:
        """What it is at `now_s`, by its plan unless more is known."""
        return "ended" if self.state == "charging" and self.ends_at_s <= now_s else self.state


class Book:
    """The entries of one balancer."""

    def __init__(self, window_s: float = WINDOW_S, most: int = MOST_REMEMBERED) -> None:
        self._window_s = window_s
        self._most = most
        self._by_request: dict[str, Entry] = {}
        self._by_ev: dict[str, Entry] = {}
        self._ends: dict[int, list[Entry]] = {}
        self._ticks: list[int] = []
        self._sorted: int | None = None
        self._held = 0
        self._attempts: OrderedDict[str, int] = OrderedDict()
        self.first_attempt = 0

    def __len__(self) -> int:
        return len(self._by_request)

    def find(self, request_id: str, now_s: float) -> Entry | None:
        """The entry of `request_id`, which charges or did within the window."""
        self._expire(now_s)
        return self._by_request.get(request_id)

    def charging(self, ev_id: str, now_s: float) -> Entry | None:
        """The entry by which `ev_id` is planned to charge now."""
        entry = self._by_ev.get(ev_id)
        return entry if entry is not None and entry.state_at(now_s) == "charging" else None

    def add(self, entry: Entry) -> Entry | None:
        """Remembers `entry`. Where its request is known elsewhere, the higher attempt stays, and of equal ones the known.

        Returns the entry that lost, or was given up: its session is one too many and must be revoked. One that came to
        its planned end before it heard of that has served its request.
        """
        if entry.state != "ended" and self.is_given_up(entry.request_id, entry.attempt):
            return entry
        known = self._by_request.get(entry.request_id)
        if known is not None and known.substation != entry.substation and known.attempt >= entry.attempt:
            return entry
        if known is not None and known.substation == entry.substation and known.state != "charging":
            return None  # what is over stays over: this was collected before
        if known is not None and known.substation == entry.substation and known.attempt == entry.attempt:
            entry.sure = entry.sure or known.sure
        self._by_request[entry.request_id] = entry
        self._by_ev[entry.ev_id] = entry
        self._keep(entry)
        return known if known is not None and known.substation != entry.substation else None

    def drop(self, entry: Entry) -> None:
        """Forgets `entry`: its session is over before its time, or lost."""
        if self._by_request.get(entry.request_id) is entry:
            del self._by_request[entry.request_id]
        if self._by_ev.get(entry.ev_id) is entry:
            del self._by_ev[entry.ev_id]

    def close(self, entry: Entry, state: State, reason: str | None, now_s: float) -> None:
        """`entry` is over before its time; its request is remembered like one that ended now."""
        entry.state, entry.reason = state, reason
        entry.ends_at_s = min(entry.ends_at_s, now_s)
        if self._by_ev.get(entry.ev_id) is entry:
            del self._by_ev[entry.ev_id]

    def drop_lost(self, substation: str, epoch: int, found: Collection[str], now_s: float) -> None:
        """Forgets what should charge at `substation` since before it restarted as `epoch`, and is not `found` there now."""
        for entry in [entry for entry in self._by_request.values() if entry.substation == substation]:
            lost = entry.epoch not in (None, epoch) and entry.request_id not in found
            if lost and entry.state_at(now_s) == "charging":
                self.drop(entry)

    def is_doubtful(self, entry: Entry) -> bool:
        """Whether another balancer, or a former run of this one, may have given up `entry`, and end it yet."""
        return not entry.sure and entry.attempt <= self.first_attempt

    def given_up(self, request_id: str, attempt: int) -> None:
        """Remembers that attempts up to `attempt` of `request_id` are revoked, so that the next one is higher."""
        known = self._by_request.get(request_id)
        if known is not None and known.attempt <= attempt:
            self.drop(known)
        self._attempts[request_id] = max(attempt, self._attempts.get(request_id, 0))
        self._attempts.move_to_end(request_id)
        if len(self._attempts) > self._most:
            self._attempts.popitem(last=False)

    def is_given_up(self, request_id: str, attempt: int) -> bool:
        """Whether `attempt` of `request_id` is revoked."""
        return attempt <= self._attempts.get(request_id, 0)

    def next_attempt(self, request_id: str) -> int:
        """The first attempt of `request_id` that is not revoked, above `first_attempt`."""
        return max(self.first_attempt, self._attempts.get(request_id, 0)) + 1

    def highest_attempt(self) -> int:
        """Of all that is remembered and that a balancer may have begun; 0 where nothing is."""
        attempts = (entry.attempt for entry in self._by_request.values())
        return max((attempt for attempt in attempts if attempt <= MOST_NUMBERED), default=0)

    def _expire(self, now_s: float) -> None:
        ticks = self._ticks
        while ticks and ticks[0] * _TICK_S + (0.0 if self._held > self._most else self._window_s) <= now_s:
            first = self._first()
            while first and first[-1].ends_at_s + (0.0 if self._held > self._most else self._window_s) <= now_s:
                self.drop(first.pop())
                self._held -= 1
            if first:
                return
            del self._ends[heapq.heappop(ticks)]

    def _keep(self, entry: Entry) -> None:
        tick = int(entry.ends_at_s // _TICK_S)
        held = self._ends.get(tick)
        if held is None:
            held = self._ends[tick] = []
            heapq.heappush(self._ticks, tick)
        elif tick == self._sorted:
            self._sorted = None
        held.append(entry)
        self._held += 1

    def _first(self) -> list[Entry]:
        """Those that end first, the very first one last."""
        tick = self._ticks[0]
        held = self._ends[tick]
        if tick != self._sorted:
            held.sort(key=_END_S, reverse=True)
            self._sorted = tick
        return held
