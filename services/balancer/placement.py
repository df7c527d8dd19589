"""Assume, send, confirm: finds a substation for one order. Must not know who sent it, or what was answered before."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final

from config.problems import Problem
from services.balancer import refusals
from services.balancer.account import Account
from services.balancer.asking import SHORTEST_TRY_S, Asked, Asking
from services.balancer.book import Entry
from services.balancer.decisions import MOST_OTHERS
from services.balancer.numbers import number
from services.balancer.order import Order
from services.balancer.reading import ACCEPTED, Answer
from services.balancer.result import Result
from services.balancer.search import Search
from services.journal import JournalError
from services.routing.node import Node
from services.routing.policies import LeastLoaded

#: Where nobody can be reached, all are tried again after this (wall seconds).
PAUSE_S = 0.2
#: A request whose attempts were revoked elsewhere is sent again to the same substation, this often at most.
MOST_REVOKED = 16
#: Who says that one should wait longer than this (wall seconds) says nothing.
MOST_WAIT_S = 10**9
_LEAST_LOADED = LeastLoaded()
_NUMBER = (int, float)

_perf_counter: Final = time.perf_counter

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Placer(Asking):
    """Finds a substation for one order after the other; see `Asking` for what it needs."""

    async def place(self, order: Order, but: Callable[[], Collection[str]] = tuple) -> Entry | Problem:
        """The entry of the session that was started, or why there is none; by the order's deadline.

        Whom `but` names, at the moment of each choice, is not asked.
        """
        search = self.begin(order, but)
        return await self._finish(search, self._find(search))

    def begin(self, order: Order, but: Callable[[], Collection[str]] = tuple) -> Search:
        """The search for a place for `order`, which begins now."""
        spare_s = (order.deadline_s - self.now_s()) / 2
        decision = self.decisions.begin(order.request_id, order.ev_id, order.power_w)
        self.ledger.count(order.power_w)
        attempt, incarnation = self.book.next_attempt(order.request_id), self.incarnation()
        return Search(order, attempt, spare_s, decision, but, incarnation)

    async def _find(self, search: Search) -> Entry | Problem:
        return await self._settle(search) or await self._place(search)

    async def _finish(self, search: Search, finding: Awaitable[Entry | Problem]) -> Entry | Problem:
        try:
            outcome = await finding
        except JournalError as error:
            outcome = refusals.unwritten(error)
        self.found(search, outcome)
        return outcome

    def found(self, search: Search, outcome: Entry | Problem) -> None:
        """`search` ended so."""
        if isinstance(outcome, Problem):
            search.decision.ended(outcome.status, outcome.reason, outcome.detail)
        else:
            search.decision.ended(202, outcome.substation)

    async def _place(self, search: Search, chosen: tuple[Account | None, ...] = ()) -> Entry | Problem:
        """Asks one after the other, where somebody was `chosen` already that one first."""
        order = search.order
        while order.deadline_s - self.now_s() > SHORTEST_TRY_S:
            account, chosen = (chosen[0] if chosen else self.choose(search)), ()
            if account is None:
                if await self._await_probes(search):
                    continue
                refused = self._refuse(search)
                if refused.reason != "substations-unreachable" or not await self._wait(search):
                    return refused
                continue
            answer = await self._ask(account, search)
            outcome = self._ended(account, search, answer)
            if outcome is not None:
                return outcome
            self._go_on(account, search, answer)
        return refusals.out_of_time()

    def choose(self, search: Search) -> Account | None:
        """Whom to ask now; None where nobody is left."""
        node = self._pick(search)
        return None if node is None else self.ledger.get(node.name)

    # -- the usual order, begun without waiting, see `services.balancer.swift` -----------------------------------------
    def accept(self, asked: Asked, search: Search, answer: Answer) -> Entry:
        """The entry of the session that was started, as `answer` says."""
        asked.account.hush()
        try:
            self.heard(asked, search, answer)
            entry = self._accept(asked.account, search, answer)
        finally:
            asked.account.show()
        self.found(search, entry)
        return entry

    async def place_after(self, search: Search, account: Account | None) -> Entry | Problem:
        """As `place`, where `account` was chosen first, and not asked yet (None: nobody was left)."""
        return await self._finish(search, self._place(search, (account,)))

    async def place_on(self, search: Search, asked: Asked, answer: Answer) -> Entry | Problem:
        """As `place`, after an `answer` to the first question."""
        return await self._finish(search, self._after(search, asked, answer))

    async def _after(self, search: Search, asked: Asked, answer: Answer) -> Entry | Problem:
        answer = await self.ask_on(asked, search, answer)
        outcome = self._ended(asked.account, search, answer)
        if outcome is not None:
            return outcome
        self._go_on(asked.account, search, answer)
        return await self._place(search)

    def _ended(self, account: Account, search: Search, answer: Answer) -> Entry | Problem | None:
        if answer.result is ACCEPTED:
            return self._accept(account, search, answer)
        if answer.result not in {Result.TAKEN, Result.FENCED}:
            return None
        account.forget(search.order.request_id)
        return refusals.request_id_taken() if answer.result is Result.TAKEN else refusals.moved()

    async def _settle(self, search: Search) -> Entry | Problem | None:
        """Asks again where a former run of this balancer may have started a session for the request; else revokes that."""
        for name, attempt in self.doubts.of(search.order.request_id):
            account = self.ledger.get(name)
            search.attempt = max(attempt, search.attempt)
            if account is not None:
                answer = await self._ask(account, search)
                self.doubts.settle(name, search.order.request_id, attempt)
                outcome = self._ended(account, search, answer)
                if outcome is not None:
                    return outcome
                account.doubt(search.order.request_id, self.now_s())
            self._give_up(name, search)
        return None

    async def _await_probes(self, search: Search) -> bool:
        """Where others are asking doubtful substations, waits for what becomes of that; False where nobody does."""
        order = search.order
        probed = [account for account in self.ledger if account.probed and self._is_wanted(account, search)]
        remaining_s = order.deadline_s - self.now_s()
        if not probed or self._is_spent(search) or remaining_s <= SHORTEST_TRY_S:
            return False
        search.tried |= frozenset(await self.probes.wait([account.target.name for account in probed], remaining_s))
        return True

    def _is_wanted(self, account: Account, search: Search) -> bool:
        barred = account.target.name in search.barred
        return not (barred or account.draining) and account.can_ever_fit(search.order.least_w)

    def _refuse(self, search: Search) -> Problem:
        now_s, order = self.now_s(), search.order
        refused = search.refusal(self.ledger, now_s, self._is_spent(search))
        # who was asked and said no had no room then, though a session may have ended since
        node = self.ledger.pick(_LEAST_LOADED, order.power_w, order.least_w, now_s, search.barred, self.rng)
        if refused.reason == "grid-full" and node is not None and node.fits(order.power_w):
            self.metrics.avoidable_rejections.inc()
        return refused

    async def _wait(self, search: Search) -> bool:
        """Lets a moment pass in which a restarting substation may come back; False where too little time is left."""
        if self._is_spent(search) or search.order.deadline_s - self.now_s() - PAUSE_S <= search.spare_s:
            return False
        await self.sleep(PAUSE_S)
        search.again()
        return True

    def _pick(self, search: Search) -> Node | None:
        began_s = _perf_counter()
        order = search.order
        now_s, barred, node = self.now_s(), search.barred, None
        if not self._is_spent(search):
            node = self.ledger.pick(self.policy, order.power_w, order.least_w, now_s, barred, self.rng)
            if node is None and not search.asked:
                node = self.ledger.oldest(order.least_w, barred)  # nobody is refused for what is believed only
        self.metrics.decision_s.observe(_perf_counter() - began_s)
        weighed = [] if node is None else self.ledger.beside(order.power_w, barred, 1 + MOST_OTHERS)
        search.decision.weighed(weighed, node, self.ledger.open)
        return node

    def _is_spent(self, search: Search) -> bool:
        """Whether the policy lets no more substations be tried."""
        return self.policy.tries is not None and search.asked >= self.policy.tries

    def _accept(self, account: Account, search: Search, answer: Answer) -> Entry:
        order, now_s = search.order, self.now_s()
        lasting = answer.body.get("ends_in_s")
        length_s = lasting if isinstance(lasting, _NUMBER) and 0 <= lasting <= 1e9 else order.length_s
        ends_at_s = now_s + length_s / self.time_scale
        account.confirm(order.request_id, ends_at_s, now_s)
        account.trust()
        epoch = None if answer.report is None else answer.report.epoch
        return Entry(order.request_id, order.ev_id, account.target.name, search.attempt, ends_at_s, epoch)

    def _go_on(self, account: Account, search: Search, answer: Answer) -> None:
        """Keeps what a failed attempt taught, for the next one."""
        order, name = search.order, account.target.name
        search.results += (answer.result,)
        if answer.result is not Result.REVOKED or search.results.count(Result.REVOKED) > MOST_REVOKED:
            search.tried |= {name}
        if answer.result is Result.UNKNOWN:
            account.doubt(order.request_id, self.now_s())
            if not account.target.external:
                self._give_up(name, search)
        else:
            account.forget(order.request_id)
        if answer.result is Result.REVOKED:
            self.book.given_up(order.request_id, search.attempt)
            search.attempt += 1
        if answer.result is Result.FULL:
            self._learn_full(account, search, answer)
        elif answer.result is Result.CLOSED and not account.draining:
            account.suspect(self.now_s(), self.now_s())
        if answer.result is not Result.FULL:
            self._log_failure(name, search, answer)

    def _give_up(self, name: str, search: Search) -> None:
        self.revocations.add(name, search.order.request_id, search.attempt)
        self.book.given_up(search.order.request_id, search.attempt)
        search.attempt += 1

    def _learn_full(self, account: Account, search: Search, answer: Answer) -> None:
        wait_s = number(answer.body.get("retry_after_s"), MOST_WAIT_S)
        if wait_s is not None and wait_s >= 0:
            search.fits_at_s += (self.now_s() + wait_s,)
        asked_power = search.order.request.power_kw is not None
        if asked_power and answer.report is not None and account.node.fits(search.order.power_w):
            # it says both that it has room and that it has none: not to be preferred for its empty places
            account.suspect(self.now_s(), self.now_s())

    def _log_failure(self, name: str, search: Search, answer: Answer) -> None:
        extra = {"substation": name, "request_id": search.order.request_id, "result": answer.result.word}
        _log.warning("attempt failed", extra={**extra, "detail": answer.detail[:200], "next_attempt": search.attempt})
