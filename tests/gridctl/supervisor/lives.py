"""A life to replay a history on, with a clock that only moves when told."""

from __future__ import annotations

from random import Random

from gridctl.supervisor.happenings import (
    Action,
    Event,
    Limits,
    Probed,
    Spawned,
    Start,
    State,
)
from gridctl.supervisor.lifecycle import Life

LIMITS = Limits(start_s=30.0, stable_s=10.0, failed_starts=3, failed_probes=3)


def life() -> Life:
    return Life(limits=LIMITS, random=Random(1))


def play(one: Life, *history: tuple[float, Event]) -> list[Action]:
    """Replay (when, what); the actions of the last event."""
    actions: list[Action] = []
    for when, event in history:
        actions = one.handle(event, when)
    return actions


def ready() -> Life:
    one = life()
    play(one, (0, Start()), (0.1, Spawned(7)), (0.2, Probed(True)))
    assert one.state is State.READY
    return one
