"""Hours of arrivals at a balancer without HTTP, in virtual time: polls come when, and if, the test says."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

from config.problems import Problem
from config.report import Report
from services.balancer.account import Account
from services.routing.reference import Arrival
from tests.services.balancer.world import Desk, World

#: After how many seconds the answer to one poll reaches the balancer: never, once or more often.
Delays = Callable[[Random], Sequence[float]]


def at_once(_: Random) -> Sequence[float]:
    return (0.0,)


@dataclass(slots=True)
class Told:
    """What clients were told: whose request was accepted, whose refused, and for whom of these substations had room."""

    accepted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    in_vain: list[tuple[str, set[str]]] = field(default_factory=list)


class Day:
    """Places arrivals through `desk`, each at its time; polls every `interval_s`, each substation at its own phase."""

    def __init__(self, desk: Desk, interval_s: float, delays: Delays = at_once, seed: int = 1) -> None:
        self.told = Told()
        self._desk = desk
        self._world: World = desk.world
        self._interval_s = interval_s
        self._delays = delays
        self._rng = Random(seed)
        self._number = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        for account in desk.ledger:
            self.at(self._world.clock.monotonic_s() + self._rng.random() * interval_s, partial(self._poll, account))

    def at(self, at_s: float, do: Callable[[], None]) -> None:
        """Lets something happen at `at_s`, between the arrivals."""
        self._number += 1
        heapq.heappush(self._events, (at_s, self._number, do))

    async def run(self, arrivals: Iterable[Arrival], within_s: float = 10.0) -> Told:
        """Places `arrivals`; each is given `within_s`."""
        for arrival in arrivals:
            self._pass_time(arrival.at_s)
            await self._place(arrival, within_s)
        return self.told

    async def _place(self, arrival: Arrival, within_s: float) -> None:
        request_id = f"r{len(self.told.accepted) + len(self.told.refused)}"
        before = self._world.vacant()
        answer = await self._desk.ask(request_id, within_s, duration_s=arrival.length_s)
        if not isinstance(answer, Problem):
            self.told.accepted.append(request_id)
            return
        self.told.refused.append(request_id)
        if vacant := before & self._world.vacant():
            self.told.in_vain.append((f"{request_id}: {answer.reason}", vacant))

    def _pass_time(self, now_s: float) -> None:
        while self._events[0][0] <= now_s:
            at_s, _, do = heapq.heappop(self._events)
            self._jump(at_s)
            do()
        self._jump(now_s)

    def _jump(self, at_s: float) -> None:
        clock = self._world.clock
        clock.jump(max(0.0, at_s - clock.monotonic_s()))

    def _poll(self, account: Account) -> None:
        now_s = self._world.clock.monotonic_s()
        self.at(now_s + self._interval_s, partial(self._poll, account))
        name = account.target.name
        report, delays_s = self._world.report(name), self._delays(self._rng) if self._world.is_up(name) else ()
        if not delays_s:
            account.miss_poll()
        for delay_s in delays_s:
            self.at(now_s + delay_s, partial(self._hear, account, report, now_s))

    def _hear(self, account: Account, report: Report, asked_at_s: float) -> None:
        account.fold(report, asked_at_s, self._world.clock.monotonic_s(), polled=True)
