"""Nodes in buckets of equal score, best first, at a price that does not grow with their number; must not know the scores.

Which buckets hold anybody is kept in integers as bits, on two floors: the lowest bit of an integer is found at once.
"""

from __future__ import annotations

from collections.abc import Iterator

from services.routing.node import Node

_BITS = 11
_LOW = (1 << _BITS) - 1


class Index:
    """Nodes by score (0 ≤ score < 2²²). A node is known by its `order`."""

    def __init__(self) -> None:
        self._upper = 0
        self._lower: dict[int, int] = {}
        self._buckets: dict[int, list[Node]] = {}
        self._places: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def put(self, node: Node, score: int) -> None:
        """Has `node` at `score`, wherever it was."""
        place = self._places.get(node.order)
        if place is not None:
            if place[0] == score:
                return
            self.drop(node)
        bucket = self._buckets.get(score)
        if bucket is None:
            bucket = self._buckets[score] = []
            high = score >> _BITS
            self._lower[high] = self._lower.get(high, 0) | 1 << (score & _LOW)
            self._upper |= 1 << high
        self._places[node.order] = (score, len(bucket))
        bucket.append(node)

    def drop(self, node: Node) -> None:
        """Has `node` no more, if it ever had."""
        place = self._places.pop(node.order, None)
        if place is None:
            return
        score, position = place
        bucket = self._buckets[score]
        last = bucket.pop()
        if last.order != node.order:
            bucket[position] = last
            self._places[last.order] = place
        if not bucket:
            self._close(score)

    def best(self) -> list[Node]:
        """The nodes of the lowest score, in no order; empty if there are none. Not to be changed."""
        upper = self._upper
        if not upper:
            return []
        high = (upper & -upper).bit_length() - 1
        lower = self._lower[high]
        return self._buckets[high << _BITS | (lower & -lower).bit_length() - 1]

    def buckets(self) -> Iterator[list[Node]]:
        """All nodes by score, the lowest first; not to be changed meanwhile."""
        upper = self._upper
        while upper:
            high = (upper & -upper).bit_length() - 1
            upper &= upper - 1
            lower = self._lower[high]
            while lower:
                yield self._buckets[high << _BITS | (lower & -lower).bit_length() - 1]
                lower &= lower - 1

    def _close(self, score: int) -> None:
        del self._buckets[score]
        high = score >> _BITS
        self._lower[high] &= ~(1 << (score & _LOW))
        if not self._lower[high]:
            del self._lower[high]
            self._upper &= ~(1 << high)
