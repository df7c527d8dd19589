"""An event loop whose time jumps to the next timer, and a grid in it: messages take time, overtake each other, get lost."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Sequence
from itertools import repeat
from random import Random
from typing import Any, TypeVar

from config.settings import SubstationSettings
from services.balancer.line import Answer, Result
from services.balancer.targets import Target
from services.clock import FakeClock
from services.substation.admission import Admission
from tests.services.balancer.world import Desk, World

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Does not wait: tells `clock` that the time was waited for."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        assert events or timeout is not None, "everybody waits, and nothing will happen"
        if not events:
            self._clock.jump(timeout or 0.0)
        return events


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        return self._clock.monotonic_s()


class BusyClock(FakeClock):
    """Moves on by up to `busy_s` at each reading too, as on a machine that has other things to do in between."""

    def __init__(self, busy_s: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        self._busy_s = busy_s
        self._rng = Random(seed)

    def monotonic_s(self) -> float:
        self.jump(self._busy_s * self._rng.random())
        return super().monotonic_s()


def run(world: Yard, main: Coroutine[Any, Any, T]) -> T:
    """What `main` returns, run in the time of `world`."""
    with asyncio.Runner(loop_factory=lambda: _Loop(world.clock)) as runner:
        return runner.run(main)


class Yard(World):
    """Substations of `units` x 11 kW each; a message takes up to `late_s` each way.

    Of the answers and polls a share `lost` does not arrive. `busy_s`: see `BusyClock`.
    """

    def __init__(
        self, units: Sequence[int], late_s: float = 0.0, lost: float = 0.0, busy_s: float = 0.0, seed: int = 0
    ) -> None:
        super().__init__([], repeat("ok"))
        self.clock = BusyClock(busy_s, seed)
        self.cores = {
            f"s{number}": Admission(SubstationSettings(name=f"s{number}", capacity_kw=11.0 * many), number + 1)
            for number, many in enumerate(units)
        }
        self._late_s = late_s
        self._lost = lost
        self._rng = Random(seed)

    async def way(self) -> bool:
        """A message's way; whether it arrives."""
        await asyncio.sleep(self._late_s * self._rng.random())  # sleep: in virtual time, this is the way
        return self._rng.random() >= self._lost

    async def charge(self, target: Target, request_id: str, body: bytes, timeout_s: float) -> Answer:
        try:
            return await asyncio.wait_for(self._exchange(target, request_id, body), timeout_s)
        except TimeoutError:
            return Answer(Result.UNKNOWN)

    async def _exchange(self, target: Target, request_id: str, body: bytes) -> Answer:
        await self.way()
        answer = await super().charge(target, request_id, body, 0.0)
        if not await self.way():
            await asyncio.Event().wait()
        return answer

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)  # sleep: in virtual time, for who was given this as its `sleep`

    async def hear(self, desk: Desk, name: str) -> None:
        """Polls `name` for `desk`."""
        account = desk.ledger.get(name)
        assert account is not None
        asked_at_s = self.clock.monotonic_s()
        await self.way()
        report = self.report(name)
        if await self.way():
            account.fold(report, asked_at_s, self.clock.monotonic_s(), polled=True)

    async def poll(self, desk: Desk, name: str, interval_s: float) -> None:
        """Polls `name` for `desk` for ever."""
        while True:
            await self.hear(desk, name)
            await asyncio.sleep(interval_s)  # sleep: in virtual time, the interval

    def fits(self, power_w: int) -> bool:
        """Whether any substation has room, by its own count."""
        reports = [self.report(name) for name in self.cores]
        return any(report.load_w + power_w <= (report.capacity_w or 0) for report in reports)
