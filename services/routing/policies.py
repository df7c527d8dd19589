"""Policies by name. A policy picks among the nodes it is given; who may be asked at all is decided before.

All of them prefer nodes that fit by estimate, then fresh ones before stale and suspect ones: substations admit for
themselves, so a wrong estimate costs one more attempt and never an overload. Least-loaded is join-the-shortest-queue
on the estimate *after* placement, which matters for mixed capacities; ties are broken at random because a fixed order
herds (Mitzenmacher, "How useful is old information?", TPDS 2000).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from services.routing.node import Node


class Policy(Protocol):
    """A choice among nodes. An instance serves one balancer and may remember its own last choices."""

    def pick(self, nodes: Sequence[Node], power_w: int, rng: Random) -> Node:
        """The node to ask for a session of `power_w` watts; `nodes` is not empty and `rng` decides ties."""
        ...


class LeastLoaded:
    """The smallest load after placement; one pass over the nodes."""

    def pick(self, nodes: Sequence[Node], power_w: int, rng: Random) -> Node:
        """See `Policy.pick`."""
        best = nodes[0]
        best_key = _key(best, power_w)
        ties = 1
        for node in nodes[1:]:
            key = _key(node, power_w)
            if key > best_key:
                continue
            ties = ties + 1 if key == best_key else 1
            if ties == 1 or rng.random() * ties < 1:
                best, best_key = node, key
        return best


class RoundRobin:
    """Each in turn, in the nodes' order."""

    def __init__(self) -> None:
        self._last = -1

    def pick(self, nodes: Sequence[Node], power_w: int, rng: Random) -> Node:  # noqa: ARG002 - a turn needs no chance
        """See `Policy.pick`."""
        front = _front(nodes, power_w)
        ahead = [node for node in front if node.order > self._last]
        chosen = min(ahead or front, key=lambda node: node.order)
        self._last = chosen.order
        return chosen


class RandomChoice:
    """Any, with equal chances."""

    def pick(self, nodes: Sequence[Node], power_w: int, rng: Random) -> Node:
        """See `Policy.pick`."""
        return rng.choice(_front(nodes, power_w))


def _key(node: Node, power_w: int) -> tuple[bool, int, float]:
    return (not node.fits(power_w), node.rank, node.load_after(power_w))


def _front(nodes: Sequence[Node], power_w: int) -> list[Node]:
    """The nodes of the best class: those that fit before those that do not, then by rank."""
    best = min((not node.fits(power_w), node.rank) for node in nodes)
    return [node for node in nodes if (not node.fits(power_w), node.rank) == best]


#: Every policy by the name that topologies and flags use; a value makes a new instance.
POLICIES: dict[str, Callable[[], Policy]] = {
    "least-loaded": LeastLoaded,
    "round-robin": RoundRobin,
    "random": RandomChoice,
}
