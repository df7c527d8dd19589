"""What policies compare: scores of one node for one request, as small integers, the lower the better. Pure.

A score has its tier in front: nodes that fit by estimate before those that do not, then fresh ones before stale and suspect
ones. Substations admit for themselves, so a wrong estimate costs one more attempt and never an overload.
"""

from __future__ import annotations

from typing import Protocol

from services.routing.node import Node

#: A load of 1.0, and the highest that is told apart. Loads nearer than 1/65,536 to each other count as equal.
UNIT = 1 << 16
MOST = 2 * UNIT - 1
#: Tiers: whether it fits, rank, big holes lost.
_HOLES = 3
_RANKS = 3 * _HOLES
#: All scores are below this.
SCORES = 2 * _RANKS * 2 * UNIT


class Score(Protocol):
    """A comparison of nodes: hashable, and a function of the node's figures and the request's power alone."""

    def __call__(self, node: Node, power_w: int, /) -> int:
        """How good `node` is for `power_w` watts: 0 is best, all are below SCORES."""
        ...


def tier(node: Node, power_w: int) -> int:
    """Only the tier: all nodes of one tier are as good as each other."""
    return ((0 if node.fits(power_w) else _RANKS) + node.rank * _HOLES) * 2 * UNIT


def least_loaded(node: Node, power_w: int) -> int:
    """The smallest load *after* placement, which matters for mixed capacities: join-the-shortest-queue."""
    return tier(node, power_w) + _level(node, power_w)


def best_fit(node: Node, power_w: int) -> int:
    """The fullest that has room; where nobody has, the smallest load after placement."""
    level = _level(node, power_w)
    return tier(node, power_w) + (MOST - level if node.fits(power_w) else level)


class FewestHolesLost:
    """Fewest places of `big_w` watts lost, then the smallest load after placement.

    A node with `free` watts loses floor(free ÷ big) - floor((free - power) ÷ big) of them. Plain least-loaded takes a piece
    of every one until none is left; best fit keeps them and loads some nodes to the brim.
    """

    def __init__(self, big_w: int) -> None:
        self._big_w = big_w

    def __call__(self, node: Node, power_w: int, /) -> int:
        """See `Score`."""
        return least_loaded(node, power_w) + self._lost(node, power_w) * 2 * UNIT

    def _lost(self, node: Node, power_w: int) -> int:
        """0, 1 or 2, in the order of holes lost: for one power nodes with a limit differ by one at most."""
        if node.capacity_w is None or not self._big_w or not node.fits(power_w):
            return 0
        free_w = node.capacity_w - node.load_w
        whole, rest_w = divmod(power_w, self._big_w)
        return min(whole, 1) + (free_w % self._big_w < rest_w)


def _level(node: Node, power_w: int) -> int:
    level = (node.sessions + 1) * UNIT // (node.max_sessions or 1)
    if node.capacity_w is not None:
        level = max(level, (node.load_w + power_w) * UNIT // (node.capacity_w or 1))
    return min(level, MOST)
