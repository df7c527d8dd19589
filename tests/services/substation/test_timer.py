"""The timer for sessions that nobody asks about: it wakes a substation seldom, and never late by more than a moment."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from config.messages import SubstationCharge
from config.settings import SubstationSettings
from services.substation.service import SHORTEST_TIMER_S, SubstationService
from tests.services.virtual import LoopClock, VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop()
    yield made
    made.close()


class Station(SubstationService):
    """Notes when its timer woke it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.woken_s: list[float] = []
        super().__init__(SubstationSettings(max_sessions=1000), LoopClock(loop, 1.0, 0.0, "m"), Random(1))

    async def charge(self, *lengths_s: float) -> None:
        """Begins sessions of these lengths, as whoever asks would."""
        now_s = self._clock.grid_s()
        for number, length_s in enumerate(lengths_s, self.admission.sessions):
            charge = SubstationCharge(ev_id="EV1", request_id=f"r{number}", duration_s=length_s)
            self.admission.admit(charge, f"r{number}", now_s)
        self._set_timer()

    def _due(self) -> None:
        self.woken_s.append(self.loop.time())
        super()._due()


def test_ends_that_follow_each_other_wake_it_once_for_many(loop: VirtualLoop) -> None:
    station = Station(loop)
    loop.run_until_complete(station.start())
    loop.run_until_complete(station.charge(*(1.0 + number / 1000 for number in range(1000))))
    loop.run_for(0.99)
    assert not station.woken_s
    loop.run_for(1.0 + 2 * SHORTEST_TIMER_S)
    assert station.admission.sessions == 0
    assert 2 <= len(station.woken_s) <= 2 + 1.0 / SHORTEST_TIMER_S
    loop.run_for(100.0)
    assert len(station.woken_s) <= 2 + 1.0 / SHORTEST_TIMER_S


def test_one_that_ends_before_the_others_is_not_forgotten(loop: VirtualLoop) -> None:
    station = Station(loop)
    loop.run_until_complete(station.start())
    for length_s in (50.0, 5.0, 20.0):
        loop.run_until_complete(station.charge(length_s))
    for until_s, left in ((4.9, 3), (5.1, 2), (19.9, 2), (20.1, 1), (49.9, 1), (50.1, 0)):
        loop.run_for(until_s - loop.time())
        assert station.admission.sessions == left
    assert len(station.woken_s) == 3
