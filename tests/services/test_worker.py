"""A worker tells of itself on its own port, and of all on the one that they share."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import Counter, Gauge, generate_latest

from services import sheet
from services.service import Health
from services.sheet import Sheet
from services.worker import NOTE_S, SILENT_S, TAKES_NONE, Shift, Worker
from tests.services.echo import Echo


@pytest.fixture
def memory() -> Iterator[Sheet]:
    descriptor = sheet.create()
    yield Sheet(descriptor)
    os.close(descriptor)


class Grid:
    """Workers on one sheet, and the time that they go by."""

    def __init__(self, memory: Sheet) -> None:
        self.memory, self.now_s = memory, 100.0
        self.shifts: dict[int, Shift] = {}
        self.asked: dict[int, Any] = {}

    def start(self, number: int) -> Shift:
        """A new process of that number."""
        echo = Echo()
        echo.name = f"echo{number}"
        echo.told = Health("ok", {"requests_total": {}})
        counter = Counter("asked", "Requests.", registry=echo.registry)
        Gauge("process_open_fds", "Files.", registry=echo.registry).set(7)

        def ask() -> None:
            counter.inc()
            total = dict(echo.told.fields["requests_total"])
            echo.told = Health("ok", {"requests_total": {"202": total.get("202", 0) + 1}})

        self.asked[number] = ask
        self.shifts[number] = Shift(echo, Worker(number, self.memory), lambda: self.now_s)
        self.shifts[number].note()
        return self.shifts[number]


async def figures(shift: Shift) -> dict[str, float]:
    lines = generate_latest(await shift.figures()).decode().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}


async def test_any_of_them_tells_what_all_answered_and_a_new_process_goes_on(memory: Sheet) -> None:
    grid = Grid(memory)
    one, other = grid.start(0), grid.start(1)
    for number, times in ((0, 2), (1, 3)):
        for _ in range(times):
            grid.asked[number]()
        grid.shifts[number].note()
    for shift in (one, other):
        assert (await figures(shift))["asked_total"] == 5
        assert shift.health().fields["requests_total"] == {"202": 5}
        assert shift.health().fields["workers"] == {"echo0": "ok", "echo1": "ok"}
    grid.asked[1]()
    again = grid.start(1)  # what it had not noted is lost, and nothing else
    assert (await figures(again))["asked_total"] == 5
    grid.asked[1]()
    assert (await figures(again))["asked_total"] == 6


async def test_gauges_are_of_those_who_live_and_what_others_counted_stays(memory: Sheet) -> None:
    grid = Grid(memory)
    one, other = grid.start(0), grid.start(1)
    grid.asked[1]()
    other.note()
    assert (await figures(one))["process_open_fds"] == 14
    grid.now_s += SILENT_S
    found = await figures(one)
    assert (found["process_open_fds"], found["asked_total"]) == (7, 1)
    assert one.health().fields["workers"] == {"echo0": "ok", "echo1": "silent"}
    other.note(gone=True)
    assert one.health().fields["workers"] == {"echo0": "ok"}
    assert (await figures(one))["asked_total"] == 1


async def test_who_asks_hears_all_that_was_counted_before(memory: Sheet) -> None:
    grid = Grid(memory)
    one, other = grid.start(0), grid.start(1)
    grid.now_s += NOTE_S
    grid.asked[1]()
    asking = asyncio.ensure_future(figures(one))
    await asyncio.sleep(0)
    assert not asking.done(), "it must wait for the other to say what it counted"
    grid.now_s += 0.01
    other.note()
    assert (await asking)["asked_total"] == 1


async def test_nobody_waits_long_for_one_that_says_nothing(memory: Sheet) -> None:
    grid = Grid(memory)
    one = grid.start(0)
    grid.start(1)
    grid.now_s += NOTE_S
    async with asyncio.timeout(NOTE_S * 10):
        assert (await figures(one))["asked_total"] == 0


async def test_one_that_takes_no_connection_is_not_waited_for(memory: Sheet) -> None:
    grid = Grid(memory)
    one = grid.start(0)
    grid.start(1)
    one.note()
    with socket.create_server(("127.0.0.1", 0)) as held:
        turns = one.turns(held.dup(), asyncio.Protocol, lambda: 100)
        memory.connect(1, 0)
        assert turns._spare(0) < 0, "the other one has fewer"
        memory.connect(1, TAKES_NONE)
        assert turns._spare(0) >= 0
        assert memory.connections(0) == 100
        turns.close()
    assert memory.connections(0) == TAKES_NONE
