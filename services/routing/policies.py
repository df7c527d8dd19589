"""The policies that come with gridctl, by name. A policy picks among the nodes of a fleet; it knows no clock and no network.

All but `least-loaded-stale` prefer nodes that fit by estimate, then fresh ones before stale and suspect ones (see `scores`).
Ties are broken at random because a fixed order herds (Mitzenmacher, "How useful is old information?", TPDS 2000).
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from services.routing.fleet import Fleet, Want
from services.routing.node import FRESH, Node
from services.routing.policy import Policy
from services.routing.scores import FewestHolesLost, best_fit, least_loaded, tier


class Ledger(Policy):
    """Least-loaded that keeps big places whole: of those that lose none for the largest common request, the emptiest."""

    summary = "The least loaded by the ledger, sparing places for the largest common request; the default."

    def __init__(self) -> None:
        self._big_w = 0
        self._score = FewestHolesLost(0)

    def pick(self, fleet: Fleet, want: Want, rng: Random) -> Node | None:
        """See `Policy.pick`."""
        if fleet.demand.largest_w != self._big_w:
            self._big_w = fleet.demand.largest_w
            self._score = FewestHolesLost(self._big_w)
        return fleet.best(want, self._score, rng)


class LeastLoaded(Policy):
    """Join-the-shortest-queue on the ledger's estimate."""

    summary = "The smallest load after placement, by the ledger's estimate."

    def pick(self, fleet: Fleet, want: Want, rng: Random) -> Node | None:
        """See `Policy.pick`."""
        return fleet.best(want, least_loaded, rng)


class LeastLoadedStale(Policy):
    """What many a balancer does: the least loaded of the last polls, the first of equals, and no second try.

    Between two polls it sends everything to one substation. Kept to show that.
    """

    summary = "The naive rule, kept to show its herd: least loaded at the last poll, the first of equals, one try."
    tries = 1
    blind = True

    def pick(self, fleet: Fleet, want: Want, rng: Random) -> Node | None:  # noqa: ARG002 - it leaves nothing to chance
        """See `Policy.pick`."""
        return min(fleet.candidates(want), key=lambda node: (node.polled_load, node.order), default=None)


class RoundRobin(Policy):
    """Each in turn, in the nodes' order."""

    summary = "Each in turn."

    def __init__(self) -> None:
        self._last = -1

    def pick(self, fleet: Fleet, want: Want, rng: Random) -> Node | None:  # noqa: ARG002 - a turn needs no chance
        """See `Policy.pick`."""
        chosen = next(self._ahead(fleet.after(self._last), want), None)
        if chosen is None:
            front = fleet.front(want)
            ahead = [node for node in front if node.order > self._last]
            chosen = next(iter(ahead or front), None)
        if chosen is not None:
            self._last = chosen.order
        return chosen

    @staticmethod
    def _ahead(nodes: Iterator[Node], want: Want) -> Iterator[Node]:
        return (node for node in nodes if node.rank == FRESH and node.fits(want.power_w) and want.allows(node))


class RandomChoice(Policy):
    """Any, with equal chances."""

    summary = "Any that has room, with equal chances."

    def pick(self, fleet: Fleet, want: Want, rng: Random) -> Node | None:
        """See `Policy.pick`."""
        return fleet.best(want, tier, rng)


class PowerOfTwo(Policy):
    """The better of two drawn at random; the second is drawn once more where it is the first (Mitzenmacher, TPDS 2001)."""

    summary = "The less loaded of two drawn at random."

    def pick(self, fleet: Fleet, want: Want, rng: Random) -> Node | None:
        """See `Policy.pick`."""
        first, second = fleet.best(want, tier, rng), fleet.best(want, tier, rng)
        if first is None or second is None:
            return first or second
        if first is second:
            second = fleet.best(want, tier, rng) or first
        return first if least_loaded(first, want.power_w) <= least_loaded(second, want.power_w) else second


class BestFit(Policy):
    """Keeps whole substations free for what needs them, and loads others to the brim."""

    summary = "The fullest that still has room."

    def pick(self, fleet: Fleet, want: Want, rng: Random) -> Node | None:
        """See `Policy.pick`."""
        return fleet.best(want, best_fit, rng)


#: Every one by the name that topologies and flags use.
POLICIES: dict[str, type[Policy]] = {
    "ledger": Ledger,
    "least-loaded": LeastLoaded,
    "least-loaded-stale": LeastLoadedStale,
    "round-robin": RoundRobin,
    "random": RandomChoice,
    "power-of-two": PowerOfTwo,
    "best-fit": BestFit,
}
