"""What a run needs to know before it begins; must not know how it is carried out."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from config.access import Token
from gridctl.loadtest.arrivals import Identity
from gridctl.loadtest.scenario import Scenario
from gridctl.loadtest.target import Target


def identity() -> Identity:
    """Ids that no other run has: never seeded, or a second run would only repeat the answers of the first."""
    return Identity(secrets.token_hex(4), secrets.randbelow(900_000) * 1000 + 1000)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run needs: `timeout_s` is how long each client waits (wall seconds).

    `again` answers the target as it is after the run, for substations that came meanwhile. Each request brings `token`.
    `ids` are this run's alone.
    """

    scenario: Scenario
    target: Target
    seed: int
    timeout_s: float
    again: Callable[[], Target]
    token: Token | None = None
    ids: Identity = field(default_factory=identity)
