"""Keeps a balancer going where a plug-in's policy does not: says so, and the default chooses. Must not know policies."""

from __future__ import annotations

import logging
from random import Random

from services.routing.fleet import Fleet, Want
from services.routing.node import Node
from services.routing.policies import Ledger
from services.routing.policy import Policy

_log = logging.getLogger(__name__)


class Guarded(Policy):
    """`policy`, called `name`; where it raises, or picks one that must not be asked, the default policy picks instead."""

    def __init__(self, name: str, policy: Policy) -> None:
        self.name = name
        self.policy = policy
        self.summary, self.tries, self.blind = policy.summary, policy.tries, policy.blind
        self._instead = Ledger()
        self._said: set[str] = set()

    def pick(self, fleet: Fleet, want: Want, rng: Random) -> Node | None:
        """See `Policy.pick`."""
        try:
            node = self.policy.pick(fleet, want, rng)
        except Exception as error:  # noqa: BLE001 - somebody else's code may raise anything; a request must not pay for it
            return self._say(f"raised {type(error).__name__}: {error}", fleet, want, rng)
        if node is None:
            nobody = not any(want.allows(other) for other in fleet)
            return None if nobody else self._say("picked nobody, though some may be asked", fleet, want, rng)
        if isinstance(node, Node) and want.allows(node):
            return node
        return self._say("picked one that must not be asked", fleet, want, rng)

    def _say(self, what: str, fleet: Fleet, want: Want, rng: Random) -> Node | None:
        if what not in self._said and len(self._said) < 10:
            self._said.add(what)
            _log.error("policy is broken", extra={"policy": self.name, "detail": what[:200], "instead": "ledger"})
        return self._instead.pick(fleet, want, rng)
