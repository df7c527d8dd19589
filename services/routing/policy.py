"""What a policy is. Must not know any."""

from __future__ import annotations

from abc import ABC, abstractmethod
from random import Random

from services.routing.fleet import Fleet, Want
from services.routing.node import Node


class Policy(ABC):
    """A choice among nodes. An instance serves one balancer and may remember its own last choices, nothing else.

    `summary` is one sentence for `gridctl policies`. After `tries` substations (None: all) a request is refused. One that is
    `blind` believes the last polls alone: the ledger does not keep it from substations that it knows to be full.
    """

    summary: str = ""
    tries: int | None = None
    blind: bool = False

    @abstractmethod
    def pick(self, fleet: Fleet, want: Want, rng: Random) -> Node | None:
        """The node to ask for what is wanted, of those that `want` allows; None if it allows none.

        Pure but for its own memory: the same calls with the same seed of `rng`, which decides ties, choose the same.
        """
