"""What a balancer's membership needs of the rest of it. Must not know who lives or how notes travel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from config.gossip import Placed


class Part(Protocol):
    """The rest of the balancer, as its membership sees it."""

    def identify(self, incarnation: int) -> None:
        """From now on it asks substations as `incarnation`."""

    async def collect(self) -> None:
        """Until every substation that can be reached was told of all fences, and what runs there is known."""

    def begin_term(self, first_attempt: int) -> None:
        """Attempts of requests that are placed from now on are above `first_attempt`."""

    def highest_attempt(self) -> int:
        """Of all that is known to be placed; 0 where nothing is."""

    def held_for(self, url: str) -> int:
        """How many requests that are the share of `url` now are being placed, or wait, here."""

    def waiting(self) -> Sequence[str]:
        """The request_ids of the queue."""

    def knows(self, request_ids: Sequence[str]) -> list[str]:
        """Which of `request_ids` are placed or waiting here."""

    def yielded(self, request_ids: Sequence[str]) -> None:
        """Another balancer has these, which wait here too: they leave the queue."""

    def placed_elsewhere(self, placed: Sequence[Placed]) -> None:
        """Sessions that another balancer started."""

    def reported(self, substation: str, text: str) -> None:
        """A report that another balancer was given."""
