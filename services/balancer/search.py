"""One order's way through the substations so far, and what the client is told where it ends nowhere. Must not know HTTP."""

from __future__ import annotations

from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet

from config.problems import Problem
from services.balancer import refusals
from services.balancer.decisions import Decision
from services.balancer.ledger import Ledger
from services.balancer.order import Order
from services.balancer.result import Result

_NOBODY: frozenset[str] = frozenset()


class Search:
    """One order's way so far: who was `tried`, the `attempt` that is next, what the tried ones answered.

    While nobody can be reached, it is tried again until only `spare_s` (wall seconds) are left. `fits_at_s` are the
    instants at which tried ones said that they will have room; whom `kept` names, for others, at that moment is not asked.
    It is void once its balancer has another `incarnation`. Most orders keep nothing: nothing is made for that.
    """

    __slots__ = (
        "attempt", "decision", "fits_at_s", "incarnation", "kept", "order", "results", "spare_s", "tried",
    )  # fmt: skip

    def __init__(
        self,
        order: Order,
        attempt: int,
        spare_s: float,
        decision: Decision,
        kept: Callable[[], Collection[str]] = tuple,
        incarnation: int = 0,
    ) -> None:
        self.order = order
        self.attempt = attempt
        self.spare_s = spare_s
        self.decision = decision
        self.kept = kept
        self.incarnation = incarnation
        self.tried: frozenset[str] = _NOBODY
        self.results: tuple[Result, ...] = ()
        self.fits_at_s: tuple[float, ...] = ()

    def again(self) -> None:
        """Forgets who was tried."""
        self.tried, self.results = _NOBODY, ()

    @property
    def asked(self) -> int:
        """How many were tried."""
        return len(self.tried)

    @property
    def barred(self) -> AbstractSet[str]:
        """Who must not be asked now."""
        if not self.tried and self.kept is tuple:
            return _NOBODY
        return self.tried.union(self.kept())

    def refusal(self, ledger: Ledger, now_s: float, spent: bool = False) -> Problem:
        """Why nobody is left to be asked; `spent`: others might be, but the policy lets no more be tried."""
        order = self.order
        if not len(ledger):
            return refusals.no_substations()
        if all(account.draining for account in ledger):
            return refusals.all_draining()
        if self.results.count(Result.NEVER) == len(ledger) or not ledger.can_ever_fit(order.least_w):
            return refusals.over_capacity()
        if not self._is_full(ledger, now_s, spent):
            return refusals.unreachable(self.asked)
        fits_at_s = ledger.fits_at_s(order.power_w, now_s, self.barred)
        instants_s = (*self.fits_at_s, *(() if fits_at_s is None else (fits_at_s,)))
        next_end_s = ledger.next_end_s()
        return refusals.grid_full(
            min(instants_s) - now_s if instants_s else None,
            None if next_end_s is None else round(next_end_s - now_s, 3),
        )

    def _is_full(self, ledger: Ledger, now_s: float, spent: bool) -> bool:
        """Whether the refusal is for want of room anywhere, rather than because nobody answers."""
        if spent or Result.FULL in self.results:
            return Result.FULL in self.results
        order = self.order
        asked = (account for account in ledger if not account.draining)
        return any(account.is_certainly_full(order.power_w, order.least_w, now_s) for account in asked)
