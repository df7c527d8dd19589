"""Attempts that must not live on: journaled, and told to their substation until it has heard, over restarts too.

Must not know how requests are placed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from itertools import islice

from services.balancer.account import Account
from services.balancer.journal import Attempt, BalancerJournal
from services.balancer.ledger import Ledger
from services.balancer.line import Line, Silent
from services.tracing import apart

#: A silent substation is told again after this (wall seconds): a revoked duplicate ends within 2 s of its return.
RETRY_S = 1.0
#: One delivery may take this long (wall seconds).
TIMEOUT_S = 1.0
#: So many are told at a time to one that listens; to one that did not, one.
AT_A_TIME = 32

_log = logging.getLogger(__name__)


class Revocations:
    """Open revocations by substation, delivered by one task each. Reports in the answers go into the `ledger`.

    `survive` must be awaited before a later attempt of the same request is sent (I2).
    """

    def __init__(
        self,
        line: Line,
        ledger: Ledger,
        now_s: Callable[[], float],
        retry_s: float = RETRY_S,
        journal: BalancerJournal | None = None,
    ) -> None:
        self._line = line
        self._ledger = ledger
        self._now_s = now_s
        self._retry_s = retry_s
        self._journal = journal or BalancerJournal(None, "process", time.time)
        self._open: dict[str, dict[str, int]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return sum(len(attempts) for attempts in self._open.values())

    def add(self, substation: str, request_id: str, attempt: int) -> None:
        """Revokes attempts up to `attempt` of `request_id` at `substation`, as soon as that can be told."""
        self._journal.revoked(substation, request_id, attempt)
        self._keep(substation, request_id, attempt)
        self.deliver((substation,))

    def owes(self, request_id: str) -> bool:
        """Whether anybody is still to be told of an attempt of `request_id`: a later one must `survive` first."""
        return bool(self._open) and any(request_id in attempts for attempts in self._open.values())

    async def survive(self) -> None:
        """Until all that were added are journaled; JournalError where they cannot be."""
        await self._journal.survives()

    def resume(self, attempts: Iterable[Attempt]) -> None:
        """Takes over what a former run did not see acknowledged; delivered once their substations are known."""
        for attempt in attempts:
            if attempt.revoked_s is not None and attempt.acknowledged_s is None:
                self._keep(attempt.substation, attempt.request_id, attempt.attempt)

    def deliver(self, substations: Iterable[str]) -> None:
        """Begins to tell those of `substations` that something is open for; one that is not discovered has to wait."""
        for substation in substations:
            if substation in self._open and substation not in self._tasks:
                self._tasks[substation] = asyncio.create_task(self._deliver(substation), context=apart())

    async def stop(self) -> None:
        """Ends all deliveries; what was not delivered stays in the journal."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep(self, substation: str, request_id: str, attempt: int) -> None:
        attempts = self._open.setdefault(substation, {})
        attempts[request_id] = max(attempt, attempts.get(request_id, 0))

    async def _deliver(self, substation: str) -> None:
        attempts, listens = self._open[substation], True
        try:
            while attempts:
                account = self._ledger.get(substation)
                if account is None:
                    _log.warning("left with revocations open", extra={"substation": substation, "open": len(attempts)})
                    return
                some = list(islice(attempts.items(), AT_A_TIME if listens else 1))
                heard = await asyncio.gather(*(self._tell(account, attempts, *one) for one in some))
                listens = all(heard)
                if not any(heard):
                    await asyncio.sleep(self._retry_s)
            del self._open[substation]
        finally:
            del self._tasks[substation]

    async def _tell(self, account: Account, attempts: dict[str, int], request_id: str, attempt: int) -> bool:
        asked_at_s = self._now_s()
        try:
            report = await self._line.revoke(account.target, request_id, attempt, TIMEOUT_S)
        except Silent:
            return False
        if report is not None:
            account.fold(report, asked_at_s, self._now_s())
        if attempts.get(request_id) == attempt:
            del attempts[request_id]
            self._journal.acknowledged(account.target.name, request_id, attempt)
        _log.info("revoked", extra={"substation": account.target.name, "request_id": request_id})
        return True
