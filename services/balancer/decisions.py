"""What a balancer decided lately, and what it knew then: a ring that `gridctl explain` reads. Must not decide anything.

Recorded for every request, so it is kept cheap: a few tuples a round, put into words only when somebody asks.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from services.routing.node import FRESH, STALE, SUSPECT, Node

#: A balancer remembers so many decisions …
KEPT = 10_000
#: … each with so many rounds, the last ones, and each round with the chosen candidate and so many others.
MOST_ROUNDS = 16
MOST_OTHERS = 4

_RANKS = {FRESH: "fresh", STALE: "stale", SUSPECT: "suspect"}

#: One substation as the ledger estimated it: name, sessions, max_sessions, load_w, capacity_w, rank, and when it was heard
#: last. Plain tuples, here and below: nobody may ever ask, and a class would cost several times as much.
Candidate = tuple[str, int, int, int, int | None, int, float | None]
#: One attempt's end: of which choice, attempt, the result's word, why, when it was asked, when that was known.
Try = tuple[int, int, str, str, float, float]
#: One choice: when, among how many that may be asked at all, who, then the candidates, the chosen one first. Where nobody
#: was left to be asked they are the first few of all, whatever kept them out. It is a tuple, as `Decision.tries` is, since
#: Python looks through each list time and again, and through such a tuple once.
Round = tuple[Any, ...]
_A_TRY = 6


class View:
    """What a balancer sees: when a substation was last heard, on the clock `now_s` (monotonic), and all nodes.

    `shown` gives what `show` would, of one that did not change maybe the same as before.
    """

    def __init__(
        self,
        heard_at_s: Callable[[str], float | None] = lambda _name: None,
        everyone: Callable[[], Iterable[Node]] = tuple,
        now_s: Callable[[], float] = time.monotonic,
        shown: Callable[[Node], Candidate] | None = None,
    ) -> None:
        self.heard_at_s = heard_at_s
        self.everyone = everyone
        self.now_s = now_s
        self.shown: Callable[[Node], Candidate] = shown or self._show

    def _show(self, node: Node) -> Candidate:
        return show(node, self.heard_at_s(node.name))


def show(node: Node, heard_at_s: float | None) -> Candidate:
    """`node` as it is now."""
    return (node.name, node.sessions, node.max_sessions, node.load_w, node.capacity_w, node.rank, heard_at_s)


class Decision:
    """How one request was placed, or why not. `began_s` is Unix time, `outcome` None while it goes on.

    `tries` holds what `Try` has, one after the other.
    """

    __slots__ = (
        "began_at_s", "began_s", "detail", "ended_at_s", "ev_id", "left_out", "power_w", "request_id", "rounds",
        "status", "tries", "view", "where",
    )  # fmt: skip

    def __init__(
        self, request_id: str, ev_id: str, power_w: int, began_s: float, began_at_s: float, view: View
    ) -> None:
        self.request_id = request_id
        self.ev_id = ev_id
        self.power_w = power_w
        self.began_s = began_s
        self.began_at_s = began_at_s
        self.view = view
        self.rounds: tuple[Round, ...] = ()
        self.tries: tuple[Any, ...] = ()
        self.left_out = 0
        self.status: int | None = None
        self.where = self.detail = ""
        self.ended_at_s: float | None = None

    def weighed(self, nodes: Sequence[Node], chosen: Node | None, count: int | None = None) -> None:
        """Of `nodes`, the best first, `chosen` will be asked (None: nobody is left); `count` may be asked at all."""
        view = self.view
        if len(self.rounds) == MOST_ROUNDS:
            self.rounds = self.rounds[1:]
            self.left_out += 1
        if chosen is None:
            shown = list(islice(view.everyone(), 1 + MOST_OTHERS))
        else:
            shown = [chosen]
            shown += [node for node in nodes if node is not chosen][:MOST_OTHERS]
        name = None if chosen is None else chosen.name
        made: list[Any] = [view.now_s(), len(nodes) if count is None else count, name]
        made += [view.shown(node) for node in shown]
        self.rounds += (tuple(made),)

    def tried(self, attempt: int, result: str, detail: str, asked_at_s: float) -> None:
        """The chosen one was asked at `asked_at_s` by `attempt`, and this came of it."""
        if self.rounds:
            number = self.left_out + len(self.rounds) - 1
            self.tries += (number, attempt, result, detail[:200], asked_at_s, self.view.now_s())

    def ended(self, status: int, where: str, detail: str = "") -> None:
        """It was answered `status`: at the substation `where`, or refused for the reason `where`."""
        self.status, self.where, self.detail = status, where, detail
        self.ended_at_s = self.view.now_s()


class Decisions:
    """The last `kept` decisions of one balancer; `unix_s` is Unix time. Who asks for one has all looked through."""

    def __init__(self, view: View | None = None, unix_s: Callable[[], float] = time.time, kept: int = KEPT) -> None:
        self._view = view or View()
        self._unix_s = unix_s
        self._kept = kept
        self._made_s = unix_s()
        self._ring: deque[Decision] = deque(maxlen=kept)

    def __len__(self) -> int:
        return len(self._ring)

    def begin(self, request_id: str, ev_id: str, power_w: int) -> Decision:
        """A request that is about to be placed; the oldest decision is forgotten where there are too many."""
        made = Decision(request_id, ev_id, power_w, self._unix_s(), self._view.now_s(), self._view)
        self._ring.append(made)
        return made

    def document(self, request_id: str) -> dict[str, Any]:
        """What is remembered of `request_id`, oldest first, and since when (Unix time) every decision is."""
        full = len(self._ring) >= self._kept
        return {
            "request_id": request_id,
            "kept": self._kept,
            "since_s": self._ring[0].began_s if full else self._made_s,
            "decisions": [_decision(each) for each in self._ring if each.request_id == request_id],
        }


def _decision(made: Decision) -> dict[str, Any]:
    return {
        "ev_id": made.ev_id,
        "power_kw": made.power_w / 1000,
        "began_s": made.began_s,
        "took_s": None if made.ended_at_s is None else round(made.ended_at_s - made.began_at_s, 6),
        "rounds_left_out": made.left_out,
        "rounds": [_round(made, number, each) for number, each in enumerate(made.rounds, made.left_out)],
        "outcome": None if made.status is None else _outcome(made.status, made.where, made.detail),
    }


def _outcome(status: int, where: str, detail: str) -> dict[str, Any]:
    accepted = 200 <= status < 300
    return {
        "status": status,
        "substation": where if accepted else None,
        "reason": None if accepted else where,
        "detail": detail,
    }


def _round(decision: Decision, number: int, made: Round) -> dict[str, Any]:
    at_s, count, chosen, *candidates = made
    tries: Iterable[Try] = zip(*[iter(decision.tries)] * _A_TRY, strict=True)
    return {
        "after_s": round(at_s - decision.began_at_s, 6),
        "count": count,
        "chosen": chosen,
        "candidates": [_candidate(each, at_s) for each in candidates],
        "tries": [
            {"attempt": attempt, "result": result, "detail": detail, "took_s": round(ended_s - asked_s, 6)}
            for choice, attempt, result, detail, asked_s, ended_s in tries
            if choice == number
        ],
    }


def _candidate(seen: Candidate, at_s: float) -> dict[str, Any]:
    name, sessions, max_sessions, load_w, capacity_w, rank, heard_at_s = seen
    return {
        "substation": name,
        "sessions": sessions,
        "max_sessions": max_sessions,
        "load_kw": load_w / 1000,
        "capacity_kw": None if capacity_w is None else capacity_w / 1000,
        "rank": _RANKS.get(rank, str(rank)),
        "report_age_s": None if heard_at_s is None else round(at_s - heard_at_s, 6),
    }
