"""The substation that is kept for one who waits: nobody behind takes what it waits for. Must not know who else waits.

Only the first for whom there is no room has one (EASY backfilling), from then until it leaves the queue: while it is being
asked for, too, as an answer "full" must not give those behind the moment in which to pass.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from services.balancer.ledger import Ledger
from services.balancer.queue import Waiting


class Reservation:
    """Who has it, and where.

    The place changes for one that has room sooner than was promised first, or where it is of no use any more. So what ends
    there by plan bounds the wait, whatever is given to others elsewhere, and however wrong estimates are.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.holder: Waiting | None = None
        self._name: str | None = None
        self._promised_s = math.inf
        self._looked_s: float | None = None

    def keep(self, waiting: Waiting, now_s: float) -> None:
        """`waiting` has it, and no other; where that is, is looked at (anew) once somebody behind it asks."""
        if waiting is not self.holder:
            self.holder, self._name, self._promised_s = waiting, None, math.inf
        self._looked_s = now_s

    def release(self, waiting: Waiting) -> None:
        """`waiting` leaves the queue."""
        if waiting is self.holder:
            self.holder = self._looked_s = None

    def barred(self, waiting: Waiting) -> Collection[str]:
        """Where `waiting` must not be placed, now."""
        holder = self.holder
        if holder is None or waiting.turn <= holder.turn:
            return ()
        if self._looked_s is not None:
            self._choose(holder, self._looked_s)
            self._looked_s = None
        return () if self._name is None else (self._name,)

    def _choose(self, holder: Waiting, now_s: float) -> None:
        lasts = self._lasts(holder, now_s)
        first = self._ledger.fits_first(holder.power_w, now_s, holder.request_id)
        if not lasts or (first is not None and first[0] < self._promised_s):
            self._promised_s, self._name = (math.inf, None) if first is None else first

    def _lasts(self, holder: Waiting, now_s: float) -> bool:
        """Whether the place that was chosen is still one."""
        account = None if self._name is None else self._ledger.get(self._name)
        if account is None or account.draining or account.standing.doubtful:
            return False
        return account.fits_at_s(holder.power_w, now_s, holder.request_id) is not None
