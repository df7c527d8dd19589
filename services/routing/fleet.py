"""All nodes of one grid, kept in order of whatever score is asked for, so that a choice does not look at each of them.

An index is made at the first choice by a score and kept up to date with the nodes that changed since: whoever changes a node
says so by `touch`. Must not know policies, and not where the figures come from.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain
from random import Random

from services.routing.demand import Demand
from services.routing.index import Index
from services.routing.node import FRESH, Node
from services.routing.scores import Score, tier

#: So many powers that are asked for often have an index each; all others share one for each quarter of a doubling.
MOST_EXACT = 16
#: More indexes than this are not kept: the one that was of no use for the longest goes first.
MOST_INDEXES = 48
#: Draws from a bucket before it is looked through for those that may be asked.
_DRAWS = 4


class Want:
    """What a choice is for: `power_w` watts, at none of `tried` (names).

    Of the nodes that do not fit by estimate only those may be asked that `may_ask` lets through (None: all).
    """

    __slots__ = ("may_ask", "power_w", "tried")

    def __init__(
        self, power_w: int, tried: Collection[str] = (), may_ask: Callable[[Node], bool] | None = None
    ) -> None:
        self.power_w = power_w
        self.tried = tried
        self.may_ask = may_ask

    def allows(self, node: Node) -> bool:
        """Whether `node` may be asked."""
        if not node.open or node.name in self.tried:
            return False
        return self.may_ask is None or node.fits(self.power_w) or self.may_ask(node)


class _Kept:
    """An index for one score and power, and the nodes that changed since it was looked at."""

    def __init__(self, score: Score, power_w: int, nodes: Iterable[Node]) -> None:
        self.score = score
        self.power_w = power_w
        self.index = Index()
        self.changed = {node.order: node for node in nodes}

    def refresh(self) -> Index:
        index, score, power_w = self.index, self.score, self.power_w
        for node in self.changed.values():
            if node.open:
                index.put(node, score(node, power_w))
            else:
                index.drop(node)
        self.changed.clear()
        return index


class Fleet:
    """The nodes, by their `order`, and what is asked of them."""

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        self.demand = Demand()
        self._nodes: dict[int, Node] = {}
        self._ring: list[int] = []
        self._limited: set[int] = set()
        self._open: set[int] = set()
        self._kept: OrderedDict[tuple[Score, int], _Kept] = OrderedDict()
        for node in nodes:
            self.add(node)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def open(self) -> int:
        """How many nodes may be asked at all."""
        return len(self._open)

    def add(self, node: Node) -> None:
        """Takes `node` in; its `order` must be no other's."""
        self._nodes[node.order] = node
        self._ring.insert(bisect_right(self._ring, node.order), node.order)
        self.touch(node)

    def remove(self, node: Node) -> None:
        """Takes `node` out."""
        del self._nodes[node.order]
        self._ring.remove(node.order)
        self._limited.discard(node.order)
        self._open.discard(node.order)
        for kept in self._kept.values():
            kept.changed.pop(node.order, None)
            kept.index.drop(node)

    def touch(self, node: Node) -> None:
        """Must be called after `node` changed; one that is not of this fleet does not count."""
        order = node.order
        if order not in self._nodes:
            return
        if (order in self._limited) is (node.capacity_w is None):
            self._limited ^= {order}
        if (order in self._open) is not node.open:
            self._open ^= {order}
        for kept in self._kept.values():
            kept.changed[order] = node

    def best(self, want: Want, score: Score, rng: Random) -> Node | None:
        """The node of the lowest `score` that `want` allows, ties at random; None if it allows none."""
        power_w = self._indexed_w(want.power_w)
        index = self._index(score, power_w)
        node = _draw(index.best(), want, rng)
        if node is None:
            node = next((found for bucket in index.buckets() if (found := _draw(bucket, want, rng))), None)
        exact = power_w == want.power_w or not self._limited
        if node is None or exact or (node.rank == FRESH and node.fits(power_w)):
            return node
        return self._scan(want, score, rng)

    def candidates(self, want: Want) -> list[Node]:
        """All nodes that `want` allows, by their order: looks at each of them."""
        return [node for order in self._ring if want.allows(node := self._nodes[order])]

    def front(self, want: Want) -> list[Node]:
        """The best tier of all that `want` allows: those that fit before those that do not, then by rank. Looks at each."""
        nodes = self.candidates(want)
        best = min((tier(node, want.power_w) for node in nodes), default=0)
        return [node for node in nodes if tier(node, want.power_w) == best]

    def after(self, order: int) -> Iterator[Node]:
        """All nodes once, in turn, beginning with the one that follows `order`."""
        start = bisect_right(self._ring, order)
        for place in chain(range(start, len(self._ring)), range(start)):
            yield self._nodes[self._ring[place]]

    def beside(self, want: Want, most: int) -> list[Node]:
        """Up to `most` of those that the last choice by a score had before it, the best first; to explain it."""
        last = next(reversed(self._kept.values()), None)
        if last is None:
            return self.candidates(want)[:most]
        found: list[Node] = []
        left, bare = 4 * most, not want.tried and want.may_ask is None
        for bucket in last.refresh().buckets():
            for node in bucket[:left]:
                if node.open and (bare or want.allows(node)):
                    found.append(node)
            left -= len(bucket)
            if left <= 0 or len(found) >= most:
                break
        return found[:most]

    def _index(self, score: Score, power_w: int) -> Index:
        kept = self._kept.get((score, power_w))
        if kept is None:
            kept = self._kept[score, power_w] = _Kept(score, power_w, self)
            if len(self._kept) > MOST_INDEXES:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end((score, power_w))
        return kept.refresh()

    def _indexed_w(self, power_w: int) -> int:
        """The power whose index serves `power_w`: itself, or where there are too many the next of four in a doubling."""
        if not self._limited:
            return 0
        common = self.demand.common
        if power_w in common and len(common) <= MOST_EXACT:
            return power_w
        step = 1 << max(0, power_w.bit_length() - 3)
        return -(-power_w // step) * step

    def _scan(self, want: Want, score: Score, rng: Random) -> Node | None:
        """As `best`, by looking at each: where a node has room for the power asked for, but not for its index's."""
        nodes = self.candidates(want)
        scores = [score(node, want.power_w) for node in nodes]
        least = min(scores, default=0)
        ties = [node for node, its in zip(nodes, scores, strict=True) if its == least]
        return ties[int(rng.random() * len(ties))] if ties else None


def _draw(bucket: list[Node], want: Want, rng: Random) -> Node | None:
    """One of `bucket` that `want` allows, all with equal chances."""
    count = len(bucket)
    for _ in range(_DRAWS if count > 1 else count):
        node = bucket[int(rng.random() * count)]
        if want.allows(node):
            return node
    allowed = [node for node in bucket if want.allows(node)]
    return allowed[int(rng.random() * len(allowed))] if allowed else None
