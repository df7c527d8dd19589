"""Assume, send, confirm: finds a substation for one order. Must not know who sent it, or what was answered before."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

from config.problems import Problem
from monitoring.metrics import BalancerMetrics
from services.balancer import refusals
from services.balancer.account import Account
from services.balancer.book import Book, Entry
from services.balancer.decisions import Decision, Decisions
from services.balancer.ledger import Ledger
from services.balancer.line import Answer, Line, Result
from services.balancer.order import Order
from services.balancer.revocations import Revocations
from services.routing.node import Node
from services.routing.policy import Policy

#: Each try may take this share of what time remains, so that a silent substation leaves time for two others, twice each.
TRY_SHARE = 0.25
#: No try takes longer (wall seconds); none is begun with less than the second figure left.
LONGEST_TRY_S = 5.0
SHORTEST_TRY_S = 0.02
#: Where nobody can be reached, all are tried again after this (wall seconds).
PAUSE_S = 0.2
#: A request whose attempts were revoked elsewhere is sent again to the same substation, this often at most.
MOST_REVOKED = 16

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Search:
    """One order's way so far: who was `tried`, the `attempt` that is next, what the tried ones answered.

    While nobody can be reached, it is tried again until only `spare_s` (wall seconds) are left.
    """

    order: Order
    attempt: int
    spare_s: float
    decision: Decision
    tried: set[str] = field(default_factory=set)
    results: Counter[Result] = field(default_factory=Counter)
    retry_after_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Placer:
    """What placing needs. `now_s` is the monotonic clock of all wall seconds here, `sleep` waits on it."""

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

    async def place(self, order: Order) -> Entry | Problem:
        """The entry of the session that was started, or why there is none. Ends by the order's deadline."""
        spare_s = (order.deadline_s - self.now_s()) / 2
        decision = self.decisions.begin(order.request_id, order.request.ev_id, order.power_w)
        self.ledger.count(order.power_w)
        search = Search(order, self.book.next_attempt(order.request_id), spare_s, decision)
        outcome = await self._place(search)
        if isinstance(outcome, Problem):
            decision.ended(outcome.status, outcome.reason, outcome.detail)
        else:
            decision.ended(202, outcome.substation)
        return outcome

    async def _place(self, search: Search) -> Entry | Problem:
        order = search.order
        while order.deadline_s - self.now_s() > SHORTEST_TRY_S:
            node = self._pick(search)
            account = None if node is None else self.ledger.get(node.name)
            if account is None:
                refused = self._refuse(search)
                if refused.reason != "substations-unreachable" or not await self._wait(search):
                    return refused
                continue
            answer = await self._ask(account, search)
            if answer.result is Result.ACCEPTED:
                return self._accept(account, search, answer)
            if answer.result is Result.TAKEN:
                return refusals.request_id_taken()
            self._go_on(account, search, answer)
        return refusals.out_of_time()

    async def _wait(self, search: Search) -> bool:
        """Lets a moment pass in which a restarting substation may come back; False where too little time is left."""
        if self._is_spent(search) or search.order.deadline_s - self.now_s() <= search.spare_s:
            return False
        await self.sleep(PAUSE_S)
        search.tried.clear()
        search.results.clear()
        return True

    def _pick(self, search: Search) -> Node | None:
        began_s = time.perf_counter()
        order = search.order
        now_s, tried, node = self.now_s(), search.tried, None
        if not self._is_spent(search):
            node = self.ledger.pick(self.policy, order.power_w, order.least_w, now_s, tried, self.rng)
        self.metrics.decision_s.observe(time.perf_counter() - began_s)
        weighed = [] if node is None else self.ledger.beside(order.power_w, tried)
        search.decision.weighed(weighed, node, self.ledger.open)
        return node

    def _is_spent(self, search: Search) -> bool:
        """Whether the policy lets no more substations be tried."""
        return self.policy.tries is not None and len(search.tried) >= self.policy.tries

    async def _ask(self, account: Account, search: Search) -> Answer:
        """Asks `account`; once more, with the same id, where the outcome is unknown."""
        order = search.order
        account.assume(order.request_id, order.power_w, self.now_s())
        answer = await self._try(account, search)
        if answer.result is not Result.UNKNOWN or account.target.external:
            return answer
        again = await self._try(account, search)
        # unless it says "accepted", the first try may still lie unread in its socket and start a session later
        return again if again.result in {Result.ACCEPTED, Result.TAKEN} else answer

    async def _try(self, account: Account, search: Search) -> Answer:
        asked_at_s = self.now_s()
        remaining_s = search.order.deadline_s - asked_at_s
        if remaining_s <= SHORTEST_TRY_S:
            return Answer(Result.UNKNOWN, detail="no time was left to ask")
        timeout_s = max(SHORTEST_TRY_S, min(LONGEST_TRY_S, remaining_s * TRY_SHARE))
        body = search.order.body(None if account.target.external else search.attempt)
        answer = await self.line.charge(account.target, search.order.request_id, body, timeout_s)
        self.metrics.attempts.labels(answer.result.value).inc()
        search.decision.tried(search.attempt, answer.result.value, answer.detail, asked_at_s)
        if answer.report is not None and account.fold(answer.report, asked_at_s, self.now_s()):
            self.book.drop_lost(account.target.name, answer.report.epoch)
        if answer.result in {Result.UNKNOWN, Result.UNREACHABLE}:
            account.suspect(asked_at_s, self.now_s())
        return answer

    def _accept(self, account: Account, search: Search, answer: Answer) -> Entry:
        order, now_s = search.order, self.now_s()
        lasting = answer.body.get("ends_in_s")
        length_s = lasting if isinstance(lasting, int | float) and 0 <= lasting <= 1e9 else order.length_s
        ends_at_s = now_s + length_s / self.time_scale
        account.confirm(order.request_id, ends_at_s, now_s)
        account.trust()
        epoch = None if answer.report is None else answer.report.epoch
        return Entry(order.request_id, order.request.ev_id, account.target.name, search.attempt, ends_at_s, epoch)

    def _go_on(self, account: Account, search: Search, answer: Answer) -> None:
        """Keeps what a failed attempt taught, for the next one."""
        order, name = search.order, account.target.name
        search.results[answer.result] += 1
        if answer.result is not Result.REVOKED or search.results[Result.REVOKED] > MOST_REVOKED:
            search.tried.add(name)
        if answer.result is Result.UNKNOWN:
            account.doubt(order.request_id, self.now_s())
            self._give_up(name, search, account)
        else:
            account.forget(order.request_id)
        if answer.result is Result.REVOKED:
            self.book.given_up(order.request_id, search.attempt)
            search.attempt += 1
        if answer.result is Result.FULL:
            self._learn_full(account, search, answer)
        elif answer.result is Result.CLOSED:
            account.suspect(self.now_s(), self.now_s())
        if answer.result is not Result.FULL:
            self._log_failure(name, search, answer)

    def _give_up(self, name: str, search: Search, account: Account) -> None:
        if account.target.external:
            return
        self.revocations.add(name, search.order.request_id, search.attempt)
        self.book.given_up(search.order.request_id, search.attempt)
        search.attempt += 1

    def _learn_full(self, account: Account, search: Search, answer: Answer) -> None:
        wait_s = answer.body.get("retry_after_s")
        if isinstance(wait_s, int | float) and 0 <= wait_s <= 1e9:
            search.retry_after_s.append(wait_s)
        asked_power = search.order.request.power_kw is not None
        if asked_power and answer.report is not None and account.node.fits(search.order.power_w):
            # it says both that it has room and that it has none: not to be preferred for its empty places
            account.suspect(self.now_s(), self.now_s())

    def _log_failure(self, name: str, search: Search, answer: Answer) -> None:
        extra = {"substation": name, "request_id": search.order.request_id, "result": answer.result.value}
        _log.warning("attempt failed", extra={**extra, "detail": answer.detail[:200], "next_attempt": search.attempt})

    def _refuse(self, search: Search) -> Problem:
        order, now_s = search.order, self.now_s()
        if not len(self.ledger):
            return refusals.no_substations()
        if all(account.draining for account in self.ledger):
            return refusals.all_draining()
        never = search.results[Result.NEVER]
        if never == len(self.ledger) or not self.ledger.can_ever_fit(order.least_w):
            return refusals.over_capacity()
        if not self._is_full(search):
            return refusals.unreachable(len(search.tried))
        fits_at_s = self.ledger.fits_at_s(order.power_w, now_s, search.tried)
        waits_s = search.retry_after_s + ([] if fits_at_s is None else [fits_at_s - now_s])
        next_end_s = self.ledger.next_end_s()
        return refusals.grid_full(
            min(waits_s, default=None), None if next_end_s is None else round(next_end_s - now_s, 3)
        )

    def _is_full(self, search: Search) -> bool:
        """Whether the refusal is for want of room anywhere, rather than because nobody answers."""
        if search.results[Result.FULL]:
            return True
        now_s, order = self.now_s(), search.order
        asked = (account for account in self.ledger if not account.draining)
        return any(account.is_certainly_full(order.power_w, order.least_w, now_s) for account in asked)
