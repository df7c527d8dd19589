"""The requests of a run that took longest, by the ids under which logs and traces know them. Must not know the network."""

from __future__ import annotations

import heapq
from typing import Any

from gridctl.loadtest.arrivals import Order

#: So many are named.
MOST = 5


class Slowest:
    """Takes every request of a run, keeps the slowest."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: list[tuple[float, int, Order]] = []
        self._number = 0

    def note(self, order: Order, latency_s: float) -> None:
        """`order` had its outcome `latency_s` after its intended moment of sending; of two alike the first is kept."""
        self._number -= 1
        if len(self._kept) < self._most:
            heapq.heappush(self._kept, (latency_s, self._number, order))
        elif latency_s > self._kept[0][0]:
            heapq.heapreplace(self._kept, (latency_s, self._number, order))

    def merge(self, other: Slowest) -> None:
        """Take all that `other` keeps."""
        for latency_s, _, order in sorted(other._kept, reverse=True):
            self.note(order, latency_s)

    def to_json(self) -> list[dict[str, Any]]:
        """The slowest first: `request_id`, `trace_id`, `latency_ms`."""
        return [
            {"request_id": order.request_id, "trace_id": order.trace_id, "latency_ms": round(1000 * latency_s, 3)}
            for latency_s, _, order in sorted(self._kept, reverse=True)
        ]
