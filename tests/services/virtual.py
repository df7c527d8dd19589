"""An event loop whose time jumps, and processes in it that can be killed and paused between any two of their steps.

Everything runs in one thread: what happens is decided by the code and by seeded random sources only, so a run can be had
again. A process here is a `Life`: all that runs in its context. A killed one runs no further step, not even a `finally`,
like after SIGKILL; a paused one finds its timers due when it goes on, like after SIGSTOP.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any

from services.clock import FakeClock
from services.journal import Job, Journal, attempt
from services.journalfile import JournalError, JournalFile

Context = contextvars.Context

#: A write on a healthy disk takes this at most (wall seconds).
QUICK_S = 0.004

#: Who needs more rounds of the loop than this in so much time (wall seconds) waits for something by asking all the time.
_MOST_ROUNDS = 20_000
_SPIN_S = 0.1


#: A round of the loop takes so long (wall seconds): clocks never stand still.
_ROUND_S = 1e-6


class Spinning(RuntimeError):
    """Something goes round and round, and no time passes."""


LIFE: contextvars.ContextVar[Life | None] = contextvars.ContextVar("LIFE", default=None)


def outside() -> Context:
    """A new context that belongs to no life."""
    context = Context()
    context.run(LIFE.set, None)
    return context


def whose(context: Context | None) -> Life | None:
    """The life of what is begun in `context`: one that was made new, by whomever, stays in the life that made it."""
    here = LIFE.get()
    if context is None or here is None:
        return here if context is None else context.get(LIFE)
    if LIFE not in context:
        context.run(LIFE.set, here)
    return context[LIFE]


class Life:
    """One process from its start to its end: `steps` counts the callbacks that ran in it, `after` is called after each.

    `dies_at` lets it be killed once it made so many steps. `ghost` is set once the run is over and all is cleared away.
    """

    def __init__(self, name: str, after: Callable[[], None], on_death: Callable[[], None]) -> None:
        self.name = name
        self.context = contextvars.copy_context()
        self.context.run(LIFE.set, self)
        self.workers: list[Worker] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.over = self.paused = self.ghost = False
        self.steps = 0
        self.dies_at: int | None = None
        self._after = after
        self._on_death = on_death
        self._backlog: list[_Step] = []

    @property
    def runs(self) -> bool:
        return not (self.over or self.paused)

    def step(self, step: _Step) -> None:
        if self.ghost:
            step.do()
        elif self.over:
            return
        elif self.paused:
            self._backlog.append(step)
        else:
            step.do()
            self.steps += 1
            self._after()
            if self.dies_at is not None and self.steps >= self.dies_at:
                self.kill()

    def kill(self) -> None:
        if not self.over:
            self.over = True
            self._backlog.clear()
            for worker in self.workers:
                worker.kill()
            self._on_death()

    def pause(self) -> None:
        self.paused = True
        for worker in self.workers:
            worker.hold()

    def unpause(self, loop: VirtualLoop) -> None:
        self.paused = False
        backlog, self._backlog = self._backlog, []
        for step in backlog:
            loop.soon(step)
        for worker in self.workers:
            worker.go_on()


class _Step:
    """One callback of a life; its handle says whether it was cancelled meanwhile."""

    def __init__(self, life: Life, callback: Callable[..., Any], args: tuple[Any, ...], context: Context) -> None:
        self.life = life
        self.context = context
        self.handle: asyncio.Handle | None = None
        self._callback = callback
        self._args = args

    def __call__(self) -> None:
        self.life.step(self)

    def do(self) -> None:
        if self.handle is None or not self.handle.cancelled():
            self._callback(*self._args)


class _Selector(selectors.BaseSelector):
    """Waits for nothing: time jumps to what is due next."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._rounds = 0
        self._since_s = 0.0
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        self._keys[fileobj] = selectors.SelectorKey(fileobj, -1, events, data)
        return self._keys[fileobj]

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen")
        self.now_s += max(_ROUND_S, timeout)
        self._rounds += 1
        if self.now_s - self._since_s > _SPIN_S:
            self._rounds, self._since_s = 0, self.now_s
        elif self._rounds > _MOST_ROUNDS:
            raise Spinning(f"{_MOST_ROUNDS} rounds of the loop in {_SPIN_S} s at {self.now_s:.6f}")
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its `time` is virtual wall seconds. Errors that nobody caught are in `errors`."""

    def __init__(self) -> None:
        self._jumping = _Selector()
        super().__init__(self._jumping)
        self.errors: list[str] = []
        self.set_exception_handler(self._failed)
        self.set_task_factory(_tagged)

    def _failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        life = LIFE.get()
        self.errors.append(f"{life.name if life else 'world'}: {context.get('message')} {context.get('exception')!r}")

    def time(self) -> float:
        return self._jumping.now_s

    def run_for(self, wall_s: float) -> None:
        """Lets `wall_s` virtual seconds pass."""
        super().call_at(self.time() + wall_s, self.stop)
        self.run_forever()

    def soon(self, step: _Step) -> None:
        """Runs `step`, which was held back, at once."""
        super().call_soon(step, context=step.context)

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        life = whose(context)
        if life is None:
            return super().call_soon(callback, *args, context=context)
        step = _Step(life, callback, args, context or contextvars.copy_context())
        step.handle = super().call_soon(step, context=step.context)
        return step.handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        life = whose(context)
        if life is None:
            return super().call_at(when, callback, *args, context=context)
        step = _Step(life, callback, args, context or contextvars.copy_context())
        step.handle = timer = super().call_at(when, step, context=step.context)
        return timer

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """At once: there are no threads here."""
        future = self.create_future()
        future.set_result(func(*args))
        return future


def _tagged(loop: asyncio.AbstractEventLoop, coro: Any, context: Context | None = None) -> asyncio.Task[Any]:
    """A task that its life remembers: a killed one's must not be collected, as that would run their `finally`."""
    life = whose(context)
    task = asyncio.Task(coro, loop=loop, context=context)
    if life is not None:
        life.tasks.append(task)
        if len(life.tasks) > 2_000:
            life.tasks = [each for each in life.tasks if not each.done()]
    return task


class LoopClock(FakeClock):
    """A service's clock: the loop's time; Unix time as the machine's clock has it when the service starts."""

    def __init__(self, loop: asyncio.AbstractEventLoop, time_scale: float, unix_s: float, machine: str) -> None:
        super().__init__(time_scale, unix_s, machine)
        self._loop = loop
        self._origin_s = loop.time()

    def monotonic_s(self) -> float:
        return self._loop.time()


class Worker:
    """Does a journal's jobs in the loop, each after a while; when its life is killed, what was done stays on the disk.

    `delay_s` draws how long one job takes. Half of that comes after the work: killed then, it is done and nobody knows.
    """

    def __init__(self, file: JournalFile, loop: asyncio.AbstractEventLoop, life: Life, disk: Disk) -> None:
        self._file = file
        self._loop = loop
        self._disk = disk
        self._life = life
        self._outside = outside()
        self._jobs: list[Job[Any] | None] = []
        self._busy = self._dead = self._held = False
        life.workers.append(self)

    def start(self) -> None: ...

    def do(self, job: Job[Any]) -> None:
        self._put(job)

    def end(self) -> None:
        self._put(None)

    def join(self, timeout_s: float) -> None:
        self._file.close()
        self._dead = True

    def kill(self) -> None:
        self._dead = True
        self._file.close()

    def hold(self) -> None:
        self._held = True

    def go_on(self) -> None:
        self._held = False
        self._next()

    def _put(self, job: Job[Any] | None) -> None:
        if not self._dead:
            self._jobs.append(job)
            self._next()

    def _next(self) -> None:
        if self._busy or self._held or not self._jobs:
            return
        job = self._jobs.pop(0)
        if job is None:
            self._file.close()
            return
        self._busy = True
        delay_s = self._disk.delay_s()
        self._loop.call_later(delay_s / 2, partial(self._work, job, delay_s / 2), context=self._outside)

    def _work(self, job: Job[Any], rest_s: float) -> None:
        if self._dead:
            return
        full = JournalError("journal-full", "no room")
        result, error = (None, full) if self._disk.full else attempt(job, self._file)
        self._loop.call_later(rest_s, partial(self._done, job, result, error), context=self._outside)

    def _done(self, job: Job[Any], result: Any, error: JournalError | None) -> None:
        if not self._dead:
            self._busy = False
            self._loop.call_soon(job.tell, result, error, context=self._life.context)
            self._next()


class Disk:
    """How one machine's disk is: `slow_s` is how long a write may take at most (wall seconds); `full`: none succeeds."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.heal()

    def heal(self) -> None:
        self.slow_s = QUICK_S
        self.full = False

    @property
    def bad(self) -> bool:
        return self.full or self.slow_s > QUICK_S

    def delay_s(self) -> float:
        return self._rng.random() * self.slow_s

    def opener(self, life: Life) -> Callable[..., Journal]:
        """What opens a journal of `life` on this disk."""

        def worker(file: JournalFile, loop: asyncio.AbstractEventLoop) -> Worker:
            return Worker(file, loop, life, self)

        return partial(Journal, worker=worker)
