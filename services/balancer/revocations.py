"""Attempts whose outcome is unknown and that must not live on: told to their substation until it has heard.

Soft state: it dies with the balancer. Must not know how requests are placed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from services.balancer.account import Account
from services.balancer.ledger import Ledger
from services.balancer.line import Line, Silent

#: A silent substation is told again after this (wall seconds): a revoked duplicate ends within 2 s of its return.
RETRY_S = 1.0
#: One delivery may take this long (wall seconds).
TIMEOUT_S = 1.0
#: No more are kept for one substation; the oldest goes first.
MOST_PER_SUBSTATION = 10_000

_log = logging.getLogger(__name__)


class Revocations:
    """Open revocations by substation, delivered by one task each. Reports in the answers go into the `ledger`."""

    def __init__(self, line: Line, ledger: Ledger, now_s: Callable[[], float], retry_s: float = RETRY_S) -> None:
        self._line = line
        self._ledger = ledger
        self._now_s = now_s
        self._retry_s = retry_s
        self._open: dict[str, dict[str, int]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return sum(len(attempts) for attempts in self._open.values())

    def add(self, substation: str, request_id: str, attempt: int) -> None:
        """Revokes attempts up to `attempt` of `request_id` at `substation`, as soon as that can be told."""
        attempts = self._open.setdefault(substation, {})
        attempts[request_id] = max(attempt, attempts.pop(request_id, 0))
        if len(attempts) > MOST_PER_SUBSTATION:
            del attempts[next(iter(attempts))]
        if substation not in self._tasks:
            self._tasks[substation] = asyncio.ensure_future(self._deliver(substation))

    async def stop(self) -> None:
        """Ends all deliveries; what was not delivered is lost."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, substation: str) -> None:
        attempts = self._open[substation]
        try:
            while attempts:
                account = self._ledger.get(substation)
                if account is None:
                    _log.warning("left with revocations open", extra={"substation": substation, "open": len(attempts)})
                    return
                if not await self._tell(account, attempts):
                    await asyncio.sleep(self._retry_s)
        finally:
            del self._open[substation], self._tasks[substation]

    async def _tell(self, account: Account, attempts: dict[str, int]) -> bool:
        request_id, attempt = next(iter(attempts.items()))
        asked_at_s = self._now_s()
        try:
            report = await self._line.revoke(account.target, request_id, attempt, TIMEOUT_S)
        except Silent:
            return False
        if report is not None:
            account.fold(report, asked_at_s, self._now_s())
        if attempts.get(request_id) == attempt:
            del attempts[request_id]
        _log.info("revoked", extra={"substation": account.target.name, "request_id": request_id})
        return True
