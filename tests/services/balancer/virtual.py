"""An event loop whose time jumps to the next timer, and a grid in it: messages take time, overtake each other, get lost."""

from __future__ import annotations

import asyncio
import math
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
from services.substation.session import Session
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


def _known_s(stay: Session, unplanned_s: float) -> float:
    return stay.ends_s if stay.ended_s is None or stay.ended_s == stay.ends_s else stay.ended_s + unplanned_s


class Yard(World):
    """Substations of `units` x 11 kW each; a message takes up to `late_s` each way.

    Of the answers and polls a share `lost` does not arrive. `busy_s`: see `BusyClock`.
    """

    def __init__(
        self, units: Sequence[int], late_s: float = 0.0, lost: float = 0.0, busy_s: float = 0.0, seed: int = 0
    ) -> None:
        super().__init__([], repeat("ok"))
        self.clock = BusyClock(busy_s, seed)
        self.stays: dict[str, list[Session]] = {f"s{number}": [] for number in range(len(units))}
        self.cores = {
            name: Admission(SubstationSettings(name=name, capacity_kw=11.0 * many), epoch, self.stays[name].append)
            for epoch, (name, many) in enumerate(zip(self.stays, units, strict=True), start=1)
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

    async def push(self, desk: Desk, name: str) -> None:
        """Tells `desk` of `name` unasked."""
        account, report = desk.ledger.get(name), self.report(name)
        if await self.way() and account is not None:
            account.fold(report, -math.inf, self.clock.monotonic_s())

    def most_used_w(self, name: str, from_s: float, to_s: float, unplanned_s: float) -> int:
        """The highest load between two instants; an end that was not planned counts `unplanned_s` after it only."""
        stays = [*self.stays[name], *self.cores[name].running()]
        spans = [(stay.started_s, _known_s(stay, unplanned_s), stay.power_w) for stay in stays]
        at_s = [from_s, *(start_s for start_s, _, _ in spans if from_s < start_s <= to_s)]
        return max(sum(power_w for start_s, end_s, power_w in spans if start_s <= now_s < end_s) for now_s in at_s)

    async def poll(self, desk: Desk, name: str, interval_s: float) -> None:
        """Polls `name` for `desk` for ever."""
        while True:
            await self.hear(desk, name)
            await asyncio.sleep(interval_s)  # sleep: in virtual time, the interval

    def fits(self, power_w: int) -> bool:
        """Whether any substation has room, by its own count."""
        reports = [self.report(name) for name in self.cores]
        return any(report.load_w + power_w <= (report.capacity_w or 0) for report in reports)
