"""Whole grids for end-to-end tests: real processes, real HTTP, real signals. All are gone after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import psutil
import pytest

from gridctl.testing import Grid, running_cluster


class Cluster(Protocol):
    """`cluster(substations=3, time_scale=10, …)`: see `gridctl.testing.running_cluster`."""

    def __call__(self, substations: int | None = None, **settings: Any) -> Grid:
        """Start one more grid; it ends with the test."""


@pytest.fixture
def cluster(environment: dict[str, str]) -> Iterator[Cluster]:
    """Starts grids, as many as a test wants; each one is stopped when the test ends, however it ends."""
    with ExitStack() as stack:
        yield lambda substations=None, **settings: stack.enter_context(running_cluster(substations, **settings))


def supervisor_of(grid: Grid) -> psutil.Process:
    """The cluster's supervisor."""
    return psutil.Process(grid.supervisor_pid)


def zygote_of(grid: Grid) -> psutil.Process:
    """The process that services are forked from: the supervisor's one child that is no service itself."""
    services = {row["pid"] for row in grid.ps()}
    others = [child for child in supervisor_of(grid).children() if child.pid not in services]
    assert len(others) == 1, f"expected one zygote, found {others}"
    return others[0]


def service_of(grid: Grid, name: str) -> psutil.Process:
    """The process of one service."""
    return psutil.Process(grid.process(name)["pid"])


def wait_for_state(grid: Grid, name: str, state: str, within_s: float = 30.0) -> dict[str, Any]:
    """The row of `ps` once the process has that state; TimeoutError otherwise."""
    grid.wait_until(in_state(name, state), within_s)
    return grid.process(name)


def in_state(name: str, state: str) -> Callable[[Grid], bool]:
    """A predicate for `grid.wait_until`."""
    return lambda grid: grid.process(name)["state"] == state
