"""What policies compare: scores of one node for one request, as small integers, the lower the better. Pure.

A score has its tier in front: nodes that fit by estimate before those that do not, then fresh ones before stale and suspect
ones. Substations admit for themselves, so a wrong estimate costs one more attempt and never an overload.
"""

from __future__ import annotations

from typing import Protocol

from services.routing.node import Node

#: A load of 1.0, and how many loads are told apart. Loads nearer than 1/65,536 to each other count as equal, and so do all
#: from 2.0 on.
UNIT = 1 << 16
_LEVELS = 2 * UNIT
#: What a big hole lost, a rank and not fitting add: each outweighs all before it.
_HOLE = _LEVELS
_RANK = 3 * _HOLE
_FULL = 3 * _RANK
#: All scores are below this.
SCORES = 2 * _FULL


class Score(Protocol):
    """A comparison of nodes: hashable, and a function of the node's figures and the request's power alone."""

    def __call__(self, node: Node, power_w: int, /) -> int:
        """How good `node` is for `power_w` watts: 0 is best, all are below SCORES."""
        ...


def tier(node: Node, power_w: int) -> int:
    """Only the tier: all nodes of one tier are as good as each other."""
    return node.rank * _RANK + (0 if node.fits(power_w) else _FULL)


def least_loaded(node: Node, power_w: int) -> int:
    """The smallest load *after* placement, which matters for mixed capacities: join-the-shortest-queue."""
    # written out, as every change of a node comes by here: `tier`, and `Node.load_after` in whole numbers
    sessions, most, capacity_w = node.sessions + 1, node.max_sessions, node.capacity_w
    level, fits = sessions * UNIT // (most or 1), sessions <= most
    if capacity_w is not None:
        load_w = node.load_w + power_w
        level, fits = max(level, load_w * UNIT // (capacity_w or 1)), fits and load_w <= capacity_w
    score = node.rank * _RANK + (level if level < _LEVELS else _LEVELS - 1)
    return score if fits else score + _FULL


def best_fit(node: Node, power_w: int) -> int:
    """The fullest that has room; where nobody has, the smallest load after placement."""
    score = least_loaded(node, power_w)
    return score if score >= _FULL else score + _LEVELS - 1 - 2 * (score % _LEVELS)


class FewestHolesLost:
    """Fewest places of `big_w` watts lost, then the smallest load after placement.

    A node with `free` watts loses floor(free ÷ big) - floor((free - power) ÷ big) of them. Plain least-loaded takes a piece
    of every one until none is left; best fit keeps them and loads some nodes to the brim.
    """

    def __init__(self, big_w: int) -> None:
        self._big_w = big_w

    def __call__(self, node: Node, power_w: int, /) -> int:
        """See `Score`."""
        score = least_loaded(node, power_w)
        if score >= _FULL or node.capacity_w is None or not self._big_w:
            return score
        # for one power two nodes with a limit differ by one hole at most: 0, 1 and 2 keep the order
        whole, rest_w = divmod(power_w, self._big_w)
        lost = min(whole, 1) + ((node.capacity_w - node.load_w) % self._big_w < rest_w)
        return score + lost * _HOLE
