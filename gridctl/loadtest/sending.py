"""The sending of a run, or of one worker's share of it, within this process. Must not know other workers or the terminal."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from gridctl.loadtest.arrivals import ALL, Order, Share
from gridctl.loadtest.asked import Asked, Roll
from gridctl.loadtest.client import Outcome
from gridctl.loadtest.engine import Engine, Report
from gridctl.loadtest.http import SOCKETS, HttpClient
from gridctl.loadtest.setup import Setup
from gridctl.loadtest.slowest import Slowest
from gridctl.loadtest.tally import Tally

#: Files that a process has open beside its sockets.
_OTHER_FILES = 64


class Effort(NamedTuple):
    """What sending took one process: `cpu_s` in all; `sending_cpu_s` while it sent, for `sending_s` (wall) seconds."""

    cpu_s: float
    sending_cpu_s: float
    sending_s: float

    @property
    def share(self) -> float:
        """Of one core, while it sent (0…1)."""
        return self.sending_cpu_s / self.sending_s if self.sending_s else 0.0


@dataclass(slots=True)
class Account:
    """What came of a run, or of a part of it: `duration_s` (wall) from its start to the last answer.

    `waited` counts requests that found all connections taken, `efforts` has one for each process that sent.
    """

    tally: Tally = field(default_factory=Tally)
    asked: list[Asked] = field(default_factory=list)
    slowest: Slowest = field(default_factory=Slowest)
    duration_s: float = 0.0
    waited: int = 0
    efforts: list[Effort] = field(default_factory=list)
    interrupted: bool = False

    def merge(self, other: Account) -> None:
        """Take another part of the same run in."""
        self.tally.merge(other.tally)
        self.asked += other.asked
        self.slowest.merge(other.slowest)
        self.duration_s = max(self.duration_s, other.duration_s)
        self.waited += other.waited
        self.efforts += other.efforts
        self.interrupted = self.interrupted or other.interrupted


class Sender:
    """Sends `share` of the scenario and keeps what comes of it, until it is taken."""

    def __init__(self, setup: Setup, report: Report, share: Share = ALL) -> None:
        self.tally = Tally()
        self._roll, self._slowest = Roll(), Slowest()
        headers = None if setup.token is None else setup.token.header()
        self._client = HttpClient(setup.target.url, setup.timeout_s, headers, _sockets())
        self._orders = setup.ids.orders(setup.scenario.arrivals(), Random(f"traces {setup.seed}"), share)
        self._report = report
        self._engine = Engine(self._client, self.tally, self._note)
        self._sent: tuple[float, float] | None = None

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt` was called."""
        return self._engine.interrupted

    def interrupt(self) -> None:
        """See `Engine.interrupt`."""
        self._engine.interrupt()

    def take(self) -> Account:
        """What came since the last time, as far as it is counted one by one."""
        return Account(self.tally.take(), self._roll.take())

    async def send(self, start_s: float | None = None) -> Account:
        """All of it, from `start_s` (monotonic), or now; what was not taken yet."""
        began_s, spent_s = time.monotonic(), time.process_time()
        with self._client:
            duration_s = await self._engine.run(self._whole(), start_s)
        ended_s, all_spent_s = self._sent or (time.monotonic(), time.process_time())
        return Account(
            tally=self.tally,
            asked=self._roll.asked,
            slowest=self._slowest,
            duration_s=duration_s,
            waited=self._client.waited,
            efforts=[Effort(time.process_time() - spent_s, all_spent_s - spent_s, ended_s - began_s)],
            interrupted=self.interrupted,
        )

    def _whole(self) -> Iterator[Order]:
        """The orders; notes when there are no more."""
        yield from self._orders
        self._sent = (time.monotonic(), time.process_time())

    def _note(self, order: Order, outcome: Outcome, latency_s: float) -> None:
        self._roll.note(order, outcome)
        self._slowest.note(order, latency_s)
        self._report(order, outcome, latency_s)


def _sockets() -> int:
    """How many files may be open bounds them, too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return SOCKETS if soft == resource.RLIM_INFINITY else max(1, min(SOCKETS, soft - _OTHER_FILES))
