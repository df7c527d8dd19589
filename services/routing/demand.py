"""Which powers are asked for often: whose places are worth keeping whole. Must not know nodes."""

from __future__ import annotations

from collections import Counter, deque

#: A power is common once this share of the last so many requests (of all, while they are fewer) asked for it …
WINDOW = 1_000
SHARE = 0.01
#: … and until it falls below this part of that, so that one at the edge does not come and go.
KEPT = 0.5


class Demand:
    """The common powers (watts) among the last requests, and the `largest_w` of them (0: none seen)."""

    def __init__(self) -> None:
        self.common: set[int] = set()
        self.largest_w = 0
        self._recent: deque[int] = deque()
        self._counts: Counter[int] = Counter()

    def see(self, power_w: int) -> None:
        """Counts one request for `power_w` watts."""
        self._recent.append(power_w)
        if len(self._recent) > WINDOW and power_w in self.common and self._recent[0] == power_w:
            self._recent.popleft()
            return  # as many as before
        self._counts[power_w] += 1
        if len(self._recent) > WINDOW:
            self._forget(self._recent.popleft())
        elif len(self._recent) % 100 == 0:
            for seen in [seen for seen in self.common if self._is_rare(seen)]:
                self._drop(seen)
        if power_w not in self.common and self._counts[power_w] >= SHARE * len(self._recent):
            self.common.add(power_w)
            self.largest_w = max(self.largest_w, power_w)

    def _forget(self, power_w: int) -> None:
        self._counts[power_w] -= 1
        if power_w in self.common and self._is_rare(power_w):
            self._drop(power_w)
        if not self._counts[power_w]:
            del self._counts[power_w]

    def _drop(self, power_w: int) -> None:
        self.common.discard(power_w)
        self.largest_w = max(self.common, default=0)

    def _is_rare(self, power_w: int) -> bool:
        return self._counts[power_w] < KEPT * SHARE * len(self._recent)
