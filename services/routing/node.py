"""What a policy sees of one substation; must not know where the figures come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Ranks, best first: heard lately; not heard lately or never; failed lately.
FRESH: Final = 0
STALE: Final = 1
SUSPECT: Final = 2


@dataclass(slots=True, eq=False)
class Node:
    """One substation as its ledger estimates it now.

    It holds `sessions` of `max_sessions` and `load_w` watts of `capacity_w` (None: no limit); the last poll, which knows
    nothing of what came and went since, had it at `polled_sessions` and `polled_load_w`. `order` is its place among the
    nodes and never changes; `rank` is FRESH, STALE or SUSPECT; one that is not `open` is not asked at all.
    Whoever keeps the ledger updates the figures in place and tells its `Fleet`; policies only read them.
    """

    name: str
    order: int
    max_sessions: int
    capacity_w: int | None = None
    sessions: int = 0
    load_w: int = 0
    rank: int = FRESH
    open: bool = True
    polled_sessions: int = 0
    polled_load_w: int = 0

    def fits(self, power_w: int) -> bool:
        """Whether one more session of `power_w` watts stays within both limits."""
        if self.sessions >= self.max_sessions:
            return False
        return self.capacity_w is None or self.load_w + power_w <= self.capacity_w

    def load_after(self, power_w: int) -> float:
        """The larger of both load ratios once a session of `power_w` watts is placed: 1.0 is full."""
        load = (self.sessions + 1) / (self.max_sessions or 1)
        if self.capacity_w is None:
            return load
        return max(load, (self.load_w + power_w) / (self.capacity_w or 1))

    @property
    def load(self) -> float:
        """The larger of both load ratios now: 1.0 is full."""
        return _load(self, self.sessions, self.load_w)

    @property
    def polled_load(self) -> float:
        """The larger of both load ratios at the last poll."""
        return _load(self, self.polled_sessions, self.polled_load_w)


def _load(node: Node, sessions: int, load_w: int) -> float:
    load = sessions / (node.max_sessions or 1)
    return load if node.capacity_w is None else max(load, load_w / (node.capacity_w or 1))
