"""The requests that are being placed, by request and by EV: who asks for the same meanwhile waits. Must not know placing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from config.problems import Problem
from services.balancer import refusals
from services.balancer.book import Entry
from services.balancer.queue import Waiting

Outcome = Entry | Waiting | Problem


class Running:
    """A request that is being placed for `ev_id` since `began_at_s` (wall seconds, monotonic)."""

    __slots__ = ("_awaited", "began_at_s", "ev_id", "request_id")

    def __init__(self, request_id: str, ev_id: str, began_at_s: float) -> None:
        self.request_id = request_id
        self.ev_id = ev_id
        self.began_at_s = began_at_s
        self._awaited: asyncio.Future[Outcome] | None = None

    @property
    def outcome(self) -> asyncio.Future[Outcome]:
        """What comes of it, for whoever waits for that while it runs."""
        if self._awaited is None:
            self._awaited = asyncio.get_running_loop().create_future()
        return self._awaited

    def end(self, outcome: Outcome) -> None:
        """This came of it."""
        if self._awaited is not None:
            self._awaited.set_result(outcome)


class Runs:
    """All of them, of one balancer: at most one a request, and one an EV."""

    def __init__(self) -> None:
        self._requests: dict[str, Running] = {}
        self._evs: dict[str, Running] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._requests

    @property
    def evs(self) -> Iterator[str]:
        """For whom."""
        yield from self._evs

    def get(self, request_id: str) -> Running | None:
        """What runs for `request_id`."""
        return self._requests.get(request_id)

    def beside(self, request_id: str, ev_id: str) -> Running | None:
        """What must end before anything is begun by `request_id` for `ev_id`; None: nothing."""
        return self._requests.get(request_id) or self._evs.get(ev_id)

    def begin(self, request_id: str, ev_id: str, now_s: float) -> Running:
        """Nothing else is begun for either until `end`."""
        running = Running(request_id, ev_id, now_s)
        self._requests[request_id] = self._evs[ev_id] = running
        return running

    def end(self, running: Running, outcome: Outcome) -> None:
        """Whoever waits is told."""
        del self._requests[running.request_id], self._evs[running.ev_id]
        running.end(outcome)

    @contextmanager
    def reserved(self, request_ids: Collection[str]) -> Iterator[None]:
        """Meanwhile none of `request_ids`, of which none is being placed, is begun: who asks looks again afterwards."""
        held = Running("", "", -math.inf)
        self._requests.update(dict.fromkeys(request_ids, held))
        try:
            yield
        finally:
            for request_id in request_ids:
                del self._requests[request_id]
            held.end(refusals.out_of_time())
