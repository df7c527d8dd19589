"""What a balancer decided lately, and what it knew then: a ring that `gridctl explain` reads. Must not decide anything.

Recorded for every request, so it is kept cheap: a few tuples a round, put into words only when somebody asks.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.routing.node import FRESH, STALE, SUSPECT, Node

#: A balancer remembers so many decisions …
KEPT = 10_000
#: … each with so many rounds, the last ones, …
MOST_ROUNDS = 16
#: … and each round with the chosen candidate and so many others, those with the least load of the first ones looked at.
MOST_OTHERS = 4
_LOOKED_AT = 64

_RANKS = {FRESH: "fresh", STALE: "stale", SUSPECT: "suspect"}


class Candidate(NamedTuple):
    """One substation as the ledger estimated it; `age_s` is that of its newest report (wall seconds, None: never heard)."""

    name: str
    sessions: int
    max_sessions: int
    load_w: int
    capacity_w: int | None
    rank: int
    age_s: float | None


class Try(NamedTuple):
    """One attempt's end: the result's word, why, and how long it took (wall seconds)."""

    attempt: int
    result: str
    detail: str
    took_s: float


@dataclass(slots=True)
class Round:
    """One choice: `count` substations might be asked; the first of `candidates` is the one that was, if any."""

    at_s: float
    count: int
    candidates: tuple[Candidate, ...]
    tries: list[Try] = field(default_factory=list)


@dataclass(slots=True)
class Decision:
    """How one request was placed, or why not. `began_s` is Unix time, `outcome` None while it goes on."""

    request_id: str
    ev_id: str
    power_w: int
    began_s: float
    began_at_s: float
    heard_at_s: Callable[[str], float | None]
    now_s: Callable[[], float]
    rounds: deque[Round] = field(default_factory=lambda: deque(maxlen=MOST_ROUNDS))
    left_out: int = 0
    outcome: tuple[int, str, str] | None = None
    ended_at_s: float | None = None

    def weighed(self, nodes: Sequence[Node], chosen: Node | None, count: int | None = None) -> None:
        """Of `nodes`, which might be asked, `chosen` will be (None: there are none); `count`: of how many."""
        now_s = self.now_s()
        self.left_out += len(self.rounds) == MOST_ROUNDS
        shown = [] if chosen is None else [chosen, *_others(nodes, chosen)]
        candidates = tuple(self._candidate(node, now_s) for node in shown)
        self.rounds.append(Round(now_s, len(nodes) if count is None else count, candidates))

    def _candidate(self, node: Node, now_s: float) -> Candidate:
        heard_at_s = self.heard_at_s(node.name)
        age_s = None if heard_at_s is None else now_s - heard_at_s
        return Candidate(node.name, node.sessions, node.max_sessions, node.load_w, node.capacity_w, node.rank, age_s)

    def tried(self, attempt: int, result: str, detail: str, asked_at_s: float) -> None:
        """The chosen one was asked at `asked_at_s` by `attempt`, and this came of it."""
        if self.rounds:
            self.rounds[-1].tries.append(Try(attempt, result, detail[:200], self.now_s() - asked_at_s))

    def ended(self, status: int, where: str, detail: str = "") -> None:
        """It was answered `status`: at the substation `where`, or refused for the reason `where`."""
        self.outcome = (status, where, detail)
        self.ended_at_s = self.now_s()


def _others(nodes: Sequence[Node], chosen: Node) -> list[Node]:
    others = [node for node in nodes[:_LOOKED_AT] if node is not chosen]
    if len(others) > MOST_OTHERS:
        others.sort(key=lambda node: (node.rank, node.load))
    return others[:MOST_OTHERS]


class Decisions:
    """The last `kept` decisions of one balancer, by request.

    `heard_at_s` answers when a substation was last heard, on the clock `now_s` (monotonic); `unix_s` is Unix time.
    """

    def __init__(
        self,
        heard_at_s: Callable[[str], float | None] = lambda _name: None,
        now_s: Callable[[], float] = time.monotonic,
        unix_s: Callable[[], float] = time.time,
        kept: int = KEPT,
    ) -> None:
        self._heard_at_s = heard_at_s
        self._now_s = now_s
        self._unix_s = unix_s
        self._kept = kept
        self._ring: deque[Decision] = deque()
        self._by_request: dict[str, list[Decision]] = {}

    def __len__(self) -> int:
        return len(self._ring)

    def begin(self, request_id: str, ev_id: str, power_w: int) -> Decision:
        """A request that is about to be placed; the oldest decision is forgotten where there are too many."""
        made = Decision(request_id, ev_id, power_w, self._unix_s(), self._now_s(), self._heard_at_s, self._now_s)
        self._ring.append(made)
        self._by_request.setdefault(request_id, []).append(made)
        if len(self._ring) > self._kept:
            self._forget(self._ring.popleft())
        return made

    def _forget(self, oldest: Decision) -> None:
        same = self._by_request[oldest.request_id]
        same.remove(oldest)
        if not same:
            del self._by_request[oldest.request_id]

    def document(self, request_id: str) -> dict[str, Any]:
        """What is remembered of `request_id`, oldest first, and since when (Unix time) everything is."""
        full = len(self._ring) >= self._kept
        return {
            "request_id": request_id,
            "kept": self._kept,
            "since_s": self._ring[0].began_s if full else None,
            "decisions": [_decision(each) for each in self._by_request.get(request_id, ())],
        }


def _decision(made: Decision) -> dict[str, Any]:
    return {
        "ev_id": made.ev_id,
        "power_kw": made.power_w / 1000,
        "began_s": made.began_s,
        "took_s": None if made.ended_at_s is None else round(made.ended_at_s - made.began_at_s, 6),
        "rounds_left_out": made.left_out,
        "rounds": [_round(each, made.began_at_s) for each in made.rounds],
        "outcome": None if made.outcome is None else _outcome(*made.outcome),
    }


def _outcome(status: int, where: str, detail: str) -> dict[str, Any]:
    accepted = 200 <= status < 300
    return {
        "status": status,
        "substation": where if accepted else None,
        "reason": None if accepted else where,
        "detail": detail,
    }


def _round(made: Round, began_at_s: float) -> dict[str, Any]:
    return {
        "after_s": round(made.at_s - began_at_s, 6),
        "count": made.count,
        "chosen": made.candidates[0].name if made.candidates else None,
        "candidates": [_candidate(each) for each in made.candidates],
        "tries": [
            {"attempt": each.attempt, "result": each.result, "detail": each.detail, "took_s": round(each.took_s, 6)}
            for each in made.tries
        ],
    }


def _candidate(seen: Candidate) -> dict[str, Any]:
    return {
        "substation": seen.name,
        "sessions": seen.sessions,
        "max_sessions": seen.max_sessions,
        "load_kw": seen.load_w / 1000,
        "capacity_kw": None if seen.capacity_w is None else seen.capacity_w / 1000,
        "rank": _RANKS.get(seen.rank, str(seen.rank)),
        "report_age_s": None if seen.age_s is None else round(seen.age_s, 6),
    }
