"""One order asked of one substation, and what that teaches about it. Must not know who was chosen, or why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

from config.report import Report
from monitoring.metrics import BalancerMetrics
from services.balancer.account import Account
from services.balancer.begins import Begins, Tell
from services.balancer.book import Book
from services.balancer.decisions import Decisions
from services.balancer.doubts import Doubts, Watch
from services.balancer.ledger import Ledger
from services.balancer.line import Line
from services.balancer.probes import Probes
from services.balancer.reading import ACCEPTED, Answer
from services.balancer.result import Result
from services.balancer.revocations import Revocations
from services.balancer.search import Search
from services.routing.policy import Policy

#: Each try may take this share of what time remains, so that a silent substation leaves time for two others, twice each.
TRY_SHARE = 0.25
#: No try takes longer (wall seconds); none is begun with less than the second figure left.
LONGEST_TRY_S = 5.0
SHORTEST_TRY_S = 0.02
_FAILED = frozenset({Result.UNKNOWN, Result.UNREACHABLE, Result.CLOSED})


def _nothing(*_: object) -> None: ...


def _first() -> int:
    return 0


class Asked:
    """`account` was asked at `at_s`, and `watch` is kept over what becomes of it."""

    __slots__ = ("account", "at_s", "watch")

    def __init__(self, account: Account, watch: Watch, at_s: float) -> None:
        self.account = account
        self.watch = watch
        self.at_s = at_s


@dataclass(frozen=True, slots=True)
class Asking:
    """What placing needs. `now_s` is the monotonic clock of all wall seconds here, `sleep` waits on it.

    `restarted` is told the name of a substation whose answer shows that it restarted, `reported` every report that came with
    an answer. A request that was begun in one `incarnation` of this balancer is not sent in another; `fenced` is told of one
    that counts as dead at a substation.
    """

    ledger: Ledger
    line: Line
    policy: Policy
    book: Book
    revocations: Revocations
    metrics: BalancerMetrics
    rng: Random
    time_scale: float = 1.0
    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    decisions: Decisions = field(default_factory=Decisions)
    doubts: Doubts = field(default_factory=Doubts)
    restarted: Callable[[str], None] = _nothing
    reported: Callable[[str, Report], None] = _nothing
    incarnation: Callable[[], int] = _first
    fenced: Callable[[int], None] = _nothing
    probes: Probes = field(default_factory=Probes)

    async def _ask(self, account: Account, search: Search) -> Answer:
        """Asks `account`; once more, with the same id, where the outcome is unknown.

        JournalError where something had to be journaled before, and cannot be.
        """
        account.assume(search.order.request_id, search.order.power_w, self.now_s())
        try:
            await self._prepare(account, search)
            if account.target.external:
                answer = await self._try(account, search)
            else:
                answer = await self._ask_own(account, search)
        except BaseException:
            self._asked(account, search, None)
            raise
        self._asked(account, search, answer)
        return answer

    def _asked(self, account: Account, search: Search, answer: Answer | None) -> None:
        """Nobody is being asked any more; None: nobody was, or something failed here."""
        order, name = search.order, account.target.name
        if answer is None:
            account.forget(order.request_id)
        if answer is not None and answer.result is ACCEPTED:
            self.probes.ended(name, False)
            return
        self.probes.ended(name, answer is None or answer.result in _FAILED)
        if order.careful and answer is not None and answer.result is not Result.UNKNOWN:
            self.doubts.retract(name, order.request_id, search.attempt)

    async def _prepare(self, account: Account, search: Search) -> None:
        if search.attempt > 1:
            await self.revocations.survive()
        if search.order.careful and not account.target.external:
            await self.doubts.announce(account.target.name, search.order.request_id, search.attempt)

    async def _ask_own(self, account: Account, search: Search) -> Answer:
        with self.doubts.watched(account.target.name, search.order.request_id, search.attempt, search.order.careful):
            return await self._make_sure(account, search, await self._try(account, search))

    async def _make_sure(self, account: Account, search: Search, answer: Answer) -> Answer:
        """`answer`; where that is not known, who was asked is asked once more."""
        if answer.result is not Result.UNKNOWN:
            return answer
        again = await self._try(account, search)
        # unless it says "accepted", the first try may still lie unread in its socket and start a session later
        return again if again.result in {Result.ACCEPTED, Result.TAKEN} else answer

    # -- the same without waiting -----------------------------------------------------------------------------------------
    def begin_asking(self, line: Begins, account: Account, search: Search, now_s: float, tell: Tell) -> Asked | None:
        """Asks `account` for the first time, and tells `tell` what it answers; None where that is not so simple.

        Then nothing was done. Whoever is told calls `heard`, or `ask_on`. `now_s` may be a little before now.
        """
        order = search.order
        remaining_s = order.deadline_s - now_s
        # of several balancers each has first attempts of higher numbers, which owe nothing
        owes = search.attempt > 1 and self.revocations.owes(order.request_id)
        if account.target.external or order.careful or owes or remaining_s <= SHORTEST_TRY_S:
            return None
        account.assume(order.request_id, order.power_w, now_s)
        body = order.body(search.attempt)
        if not line.begin(account.target, order.request_id, body, _timeout_s(remaining_s), tell):
            account.forget(order.request_id)
            return None
        watch = self.doubts.watch(account.target.name, order.request_id, search.attempt)
        return Asked(account, watch, now_s)

    def heard(self, asked: Asked, search: Search, answer: Answer) -> None:
        """`answer` is what came of asking, for good."""
        self._learn(asked.account, search, answer, asked.at_s)
        self.doubts.unwatch(asked.watch)
        self._asked(asked.account, search, answer)

    def unheard(self, asked: Asked, search: Search) -> None:
        """Nobody was asked, or something failed here."""
        self.doubts.unwatch(asked.watch)
        self._asked(asked.account, search, None)

    async def ask_on(self, asked: Asked, search: Search, answer: Answer) -> Answer:
        """As `heard`; where `answer` says that nothing is known, who was asked is asked once more."""
        try:
            with self.doubts.watching(asked.watch):
                self._learn(asked.account, search, answer, asked.at_s)
                found = await self._make_sure(asked.account, search, answer)
        except BaseException:
            self._asked(asked.account, search, None)
            raise
        self._asked(asked.account, search, found)
        return found

    async def _try(self, account: Account, search: Search) -> Answer:
        asked_at_s = self.now_s()
        remaining_s = search.order.deadline_s - asked_at_s
        if remaining_s <= SHORTEST_TRY_S:
            return Answer(Result.UNKNOWN, detail="no time was left to ask")
        if search.incarnation != self.incarnation():
            return Answer(Result.FENCED, detail="not sent: others count this balancer as dead")
        body = search.order.body(None if account.target.external else search.attempt)
        answer = await self.line.charge(account.target, search.order.request_id, body, _timeout_s(remaining_s))
        self._learn(account, search, answer, asked_at_s)
        return answer

    def _learn(self, account: Account, search: Search, answer: Answer, asked_at_s: float) -> None:
        """What `answer` says of `account`, which was asked at `asked_at_s`."""
        word: str = answer.result.word
        self.metrics.attempts.labels(word).inc()
        search.decision.tried(search.attempt, word, answer.detail, asked_at_s)
        if answer.report is not None:
            self.reported(account.target.name, answer.report)
            if account.fold(answer.report, asked_at_s, self.now_s()):
                self.restarted(account.target.name)
        if answer.result is ACCEPTED:
            return
        if answer.result is Result.FENCED and isinstance(fence := answer.body.get("incarnation"), int):
            self.fenced(fence)
        if answer.result in {Result.UNKNOWN, Result.UNREACHABLE}:
            account.suspect(asked_at_s, self.now_s())


def _timeout_s(remaining_s: float) -> float:
    """How long one try may take."""
    return max(SHORTEST_TRY_S, min(LONGEST_TRY_S, remaining_s * TRY_SHARE))
