"""How many requests are in flight, and when it is quiet; must not know HTTP or what is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Where nobody is connected who might ask, it is quiet after this already (wall seconds): whoever was let in before nobody
#: was any more is seen by then.
LULL_S = 0.02


class Traffic:
    """Counts requests, so that a stopping service knows when the last one was answered. One event loop only."""

    def __init__(self) -> None:
        self.stopping = False
        self.in_flight = 0
        self._last_s = time.monotonic()
        self._changed = asyncio.Event()
        self._on_stop: list[Callable[[], None]] = []

    @contextmanager
    def request(self) -> Iterator[None]:
        """One request, from when its handler begins until its answer is made."""
        self.began(1)
        try:
            yield
        finally:
            self.ended(1)

    def began(self, count: int) -> None:
        """So many requests came together."""
        self.in_flight += count
        if self.stopping:
            self._touch()

    def ended(self, count: int) -> None:
        """The answers to so many are made."""
        self.in_flight -= count
        if self.stopping:
            self._touch()

    def on_stop(self, tell: Callable[[], None]) -> None:
        """`tell` is called once nothing more is to come."""
        self._on_stop.append(tell)

    def _touch(self) -> None:
        self._last_s = time.monotonic()
        self._changed.set()

    def stop(self) -> None:
        """From now on answers say `Connection: close`, and silence counts."""
        self.stopping = True
        self._touch()
        for tell in self._on_stop:
            tell()

    def left(self) -> None:
        """Somebody who might have asked is gone."""
        self._changed.set()

    async def quiet(self, silence_s: float, limit_s: float, alone: Callable[[], bool] = lambda: False) -> bool:
        """Waits until nothing is in flight and nothing came for `silence_s`; False where `limit_s` passed before.

        Where it is `alone`, and nobody is there who might ask, a moment of silence is enough.
        """
        end_s = time.monotonic() + limit_s
        while True:
            now_s = time.monotonic()
            enough_s = min(LULL_S, silence_s) if alone() else silence_s
            until_s = end_s if self.in_flight else min(end_s, self._last_s + enough_s)
            if until_s <= now_s:
                return not self.in_flight
            self._changed.clear()
            await _wait(self._changed, until_s - now_s)


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return
