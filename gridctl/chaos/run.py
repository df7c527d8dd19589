"""One run of chaos, from its first request to the verdict. Whatever ends it, all is resumed and lifted before it returns.

Must not know flags, files, or how the result is shown.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from config.errors import GridError, NotRunning
from gridctl.audit import Verdict
from gridctl.chaos import acts, load
from gridctl.chaos.census import DOWN, READY, Census
from gridctl.chaos.costs import Deed, costs
from gridctl.chaos.guard import Guard
from gridctl.chaos.progress import REFRESH_S, Progress
from gridctl.chaos.reach import ClusterReach, Reach
from gridctl.chaos.result import Result
from gridctl.chaos.timeline import SUPERVISOR, Step
from gridctl.chaos.verdict import verdict
from gridctl.loadtest import target
from gridctl.loadtest.engine import Engine
from gridctl.loadtest.http import HttpClient
from gridctl.loadtest.setup import identity
from gridctl.loadtest.tally import Tally

#: How long each client waits (wall seconds): longer than the grid's own bound, so that its answer is what counts.
TIMEOUT_S = 12.0
#: How long the grid may take until all is well again (wall seconds).
WELL_S = 60.0
LOOK_S = 0.1
#: Orders to a supervisor that is frozen just then wait in threads.
_THREADS = 32
#: Sockets to the grid at most; requests beyond wait for one.
_SOCKETS = 512

STOPPING = "stopping: everything is resumed first (Ctrl-C again does not wait for answers)"


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run needs. `rate` is in requests a wall second, 0: no load; `steps` are in order of time."""

    steps: Sequence[Step]
    seed: int
    rate: float
    duration_s: float


@dataclass(slots=True)
class Storm:
    """Does `steps` at their times through `reach`, several at once where they overlap."""

    steps: Sequence[Step]
    reach: Reach
    progress: Progress
    deeds: list[Deed] = field(default_factory=list)
    on: dict[asyncio.Task[None], Step] = field(default_factory=dict)
    failure: BaseException | None = None

    async def run(self, start_s: float) -> None:
        """All steps, and until what they met is well again. Cancelled: each ends what it began."""
        try:
            for step in self.steps:
                await asyncio.sleep(max(0.0, start_s + step.at_s - time.monotonic()))
                self.progress.begins(step, time.monotonic() - start_s)
                task = asyncio.ensure_future(self._do(step))
                self.on[task] = step
                task.add_done_callback(self._over)
            await asyncio.gather(*self.on, return_exceptions=True)
        finally:
            left = list(self.on)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _over(self, task: asyncio.Task[None]) -> None:
        """Notes what no step should raise; it is raised once all is well again."""
        self.on.pop(task, None)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self.failure = failure

    async def _do(self, step: Step) -> None:
        began_s, note = time.monotonic(), "interrupted"
        try:
            note = await acts.perform(step, self.reach)
        except OSError as error:
            note = str(error)
        finally:
            self.deeds.append(Deed(step, began_s, time.monotonic(), note))


async def run(setup: Setup, census: Census, progress: Progress) -> Result:
    """Do the steps under load, heal, ask the audit. `census` was looked at once already.

    The first SIGINT, SIGTERM or SIGHUP ends it early; the second does not wait for answers in flight.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
    served = target.from_snapshot(census.snapshot)
    with Guard() as guard, ExitStack() as clients:
        follower = Follower(census, clients, served.url)
        reach = ClusterReach(census, guard, follower)
        return await Run(setup, census, progress, reach, follower.client, served.time_scale).result()


class Follower:
    """Sends the load to where the cluster is. See `Following`."""

    def __init__(self, census: Census, clients: ExitStack, url: str) -> None:
        self._census = census
        self._clients = clients
        self._url = url
        self.client = load.Noting(self._client(url))

    def _client(self, url: str) -> HttpClient:
        return self._clients.enter_context(HttpClient(url, TIMEOUT_S, sockets=_SOCKETS))

    def left(self) -> None:
        """See `Following.left`."""
        self.client.leave()

    def back(self) -> None:
        """See `Following.back`."""
        before = self._url
        with suppress(GridError):
            self._url = target.from_snapshot(self._census.snapshot).url
        self.client.arrive(self._client(self._url), same=self._url == before)

    def lost(self) -> None:
        """See `Following.lost`."""
        self.client.give_up()


class Run:
    """The parts of one run."""

    def __init__(
        self,
        setup: Setup,
        census: Census,
        progress: Progress,
        reach: ClusterReach,
        client: load.Noting,
        time_scale: float,
    ) -> None:
        self._setup = setup
        self._census = census
        self._progress = progress
        self._reach = reach
        self._client = client
        self._time_scale = time_scale
        self._tally = Tally()
        self._engine = Engine(client, self._tally)
        self._storm = Storm(setup.steps, reach, progress)
        self._stop = asyncio.Event()
        self._services = [each.name for each in census.targets() if each.is_service]

    async def result(self) -> Result:
        """See `run`."""
        start_s = time.monotonic()
        storming = asyncio.create_task(self._storm.run(start_s))
        ticker = asyncio.create_task(self._tick(start_s))
        with self._interruptible(storming):
            try:
                await self._load()
                end_s = time.monotonic()
                await asyncio.wait({storming})
            finally:
                storming.cancel()
                await asyncio.wait({storming})
                ticker.cancel()
                self._progress.clear()
                unwell = await self._heal()
            if self._storm.failure is not None:
                raise self._storm.failure
            found = None if self._stop.is_set() else await self._verdict()
        deeds = tuple(sorted(self._storm.deeds, key=lambda deed: deed.began_s))
        return Result(
            seed=self._setup.seed,
            rate=self._setup.rate,
            duration_s=end_s - start_s,
            start_s=start_s,
            deeds=deeds,
            costs=costs(deeds, self._client.replies, start_s, end_s),
            tally=self._tally,
            verdict=found,
            unwell=unwell,
            interrupted=self._stop.is_set(),
        )

    async def _load(self) -> None:
        """Until the last request was answered; where there is no load, until the time is over."""
        setup = self._setup
        if not setup.rate:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), setup.duration_s)
            return
        mean_s = load.mean_session_s(load.places(self._census.snapshot), setup.rate)
        made = load.arrivals(setup.seed, setup.rate, setup.duration_s, mean_s, self._time_scale)
        await self._engine.run(identity().orders(made))

    async def _tick(self, start_s: float) -> None:
        while True:
            self._progress.show(self._tally, self._storm.on.values(), time.monotonic() - start_s)
            await asyncio.sleep(REFRESH_S)

    async def _heal(self) -> dict[str, str]:
        """Wake all, lift all, start what was killed for good; who is not well after WELL_S, and how it is instead."""
        reach = self._reach
        for person in reach.guard.frozen:
            reach.wake(person)
        if reach.owes_up and await reach.find(SUPERVISOR) is None:
            await reach.revive(None)
        await reach.order("faults", names=self._services, drop_pct=0, duplicate_pct=0, delay_s=0)
        end_s = time.monotonic() + WELL_S
        while True:
            unwell = await asyncio.to_thread(self._unwell)
            if DOWN.issuperset(unwell.values()) or time.monotonic() > end_s:
                return unwell
            await asyncio.sleep(LOOK_S)

    def _unwell(self) -> dict[str, str]:
        """Of those that were there at the beginning, and are not down for good by somebody's wish."""
        try:
            self._census.look()
        except NotRunning:  # somebody took it down: nothing to wait for
            return {SUPERVISOR: "STOPPED"}
        except GridError as error:
            return {SUPERVISOR: error.message}
        states = self._census.states
        return {name: states[name] for name in self._services if states.get(name, READY) not in (READY, "STOPPED")}

    async def _verdict(self) -> Verdict:
        return await asyncio.to_thread(verdict, self._census.paths, self._client.placed)

    @contextmanager
    def _interruptible(self, storming: asyncio.Task[None]) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        main: asyncio.Task[Any] | None = asyncio.current_task()

        def interrupt() -> None:
            if self._stop.is_set() and main is not None:
                main.cancel()
                return
            self._progress.say(STOPPING)
            self._stop.set()
            self._engine.interrupt()
            storming.cancel()

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, interrupt)
        try:
            yield
        except asyncio.CancelledError as cancelled:
            raise KeyboardInterrupt from cancelled
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
