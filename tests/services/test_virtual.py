"""Simulated processes: what is killed or paused does nothing more, in whatever context it was begun."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.services.virtual import Life, VirtualLoop, outside


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop()
    yield made
    made.close()


def _begin_soon(loop: VirtualLoop, what: Callable[[], None], context: contextvars.Context | None) -> None:
    loop.call_soon(what, context=context)


def _begin_later(loop: VirtualLoop, what: Callable[[], None], context: contextvars.Context | None) -> None:
    loop.call_later(0.5, what, context=context)


def _begin_task(loop: VirtualLoop, what: Callable[[], None], context: contextvars.Context | None) -> None:
    async def do() -> None:
        await asyncio.sleep(0.5)  # sleep: virtual time
        what()

    loop.create_task(do(), context=context)


def _begun(
    begin: Callable[..., None], loop: VirtualLoop, what: Callable[[], None], context: Callable[[], object]
) -> None:
    begin(loop, what, context())


BEGIN = [_begin_soon, _begin_later, _begin_task]


@pytest.mark.parametrize("begin", BEGIN)
@pytest.mark.parametrize("context", [lambda: None, contextvars.Context, contextvars.copy_context])
def test_a_killed_process_does_nothing_more(
    loop: VirtualLoop, begin: Callable[..., None], context: Callable[[], contextvars.Context | None]
) -> None:
    done: list[str] = []
    lives = [Life(name, lambda: None, lambda: None) for name in ("killed", "paused", "alive")]
    for life in lives:
        note = partial(done.append, life.name)
        life.context.run(_begun, begin, loop, note, context)
    lives[0].kill()
    lives[1].pause()
    loop.run_for(1.0)
    assert done == ["alive"]
    lives[1].unpause(loop)
    loop.run_for(1.0)
    assert done == ["alive", "paused"]
    assert not loop.errors
    for task in lives[0].tasks:  # nothing of it may run on, not even its end
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.get_coro().close()


def test_what_is_on_its_way_between_processes_is_nobodys(loop: VirtualLoop) -> None:
    done: list[str] = []
    life = Life("sender", lambda: None, lambda: None)
    life.context.run(lambda: loop.call_later(0.5, done.append, "arrived", context=outside()))
    life.kill()
    loop.run_for(1.0)
    assert done == ["arrived"]
