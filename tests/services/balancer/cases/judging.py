"""How good is good enough, beside the promises. Must not know the cases."""

from __future__ import annotations

from collections.abc import Sequence

from services.routing.reference import Arrival, blocked_pooled
from tests.services.balancer.day import Told
from tests.services.balancer.promises import expect_kept, of_world
from tests.services.balancer.world import World

#: The spread may be so much of that of perfect join-the-shortest-queue on the same arrivals.
NEAR_PERFECT = 1.15


def expect_no_worse_than_one_pool(world: World, arrivals: Sequence[Arrival], told: Told) -> None:
    """The promises, nobody refused in vain, and no more refused than one pool of all slots would."""
    expect_kept(of_world(world), told.accepted)
    assert told.in_vain == []
    assert len(told.refused) / len(arrivals) == blocked_pooled(
        arrivals, sum(c.max_sessions for c in world.cores.values())
    )
