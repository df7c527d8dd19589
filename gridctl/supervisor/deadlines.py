"""Whose patience ends next, found without a look at everybody. Must not know members, nor what happens then."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field


@dataclass(slots=True)
class Deadlines:
    """One instant by name, or none; in seconds of one monotonic clock. What was replaced is dropped when it comes up."""

    _at: dict[str, float] = field(default_factory=dict)
    _heap: list[tuple[float, str]] = field(default_factory=list)

    def set(self, name: str, at_s: float | None) -> None:
        """From now on `name` is due at `at_s`; None: never."""
        if at_s == self._at.get(name):
            return
        if at_s is None:
            del self._at[name]
            return
        self._at[name] = at_s
        heapq.heappush(self._heap, (at_s, name))

    def next_s(self) -> float | None:
        """When the first is due; None where nobody is."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now_s: float) -> list[str]:
        """Who is due by now, the first first; they are not any more."""
        names = []
        while (first_s := self.next_s()) is not None and first_s <= now_s:
            _, name = heapq.heappop(self._heap)
            del self._at[name]
            names.append(name)
        return names
