"""More than there is room for: in one burst, for hours, to a newcomer, and from clients that are gone."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import suppress
from itertools import repeat
from typing import Any

import pytest

from config.settings import SubstationSettings
from services.balancer import line
from services.balancer.targets import Target
from services.routing.reference import blocked_pooled, erlang_b, jsq_spread
from services.substation.admission import Admission
from tests.services.balancer.cases.asking import accepted, ask_all, bodies
from tests.services.balancer.cases.judging import NEAR_PERFECT, expect_no_worse_than_one_pool
from tests.services.balancer.day import Day
from tests.services.balancer.promises import expect_kept, figures, of_services, of_world
from tests.services.balancer.test_simulation import SLOTS, poisson, simulate
from tests.services.balancer.world import Desk, World
from tests.services.grid import Grid, a_grid, until


async def test_a_burst_of_twice_the_grids_slots_is_refused_where_it_has_no_room() -> None:
    """Burst of twice the grid's slots in one go: half is placed, evenly, and half is told when to come again."""
    async with a_grid() as grid:
        stations = [await grid.substation(f"substation{number}") for number in (1, 2, 3)]
        await grid.balancer(*(station.name for station in stations))
        answers = await asyncio.gather(*(grid.route(f"EV{number}", request_id=f"r{number}") for number in range(60)))
        assert Counter(answer.status for answer in answers) == {202: 30, 503: 30}
        assert [station.admission.sessions for station in stations] == [10, 10, 10]
        for answer in answers:
            body = await answer.json()
            if answer.status == 503:
                assert body["reason"] == "grid-full"
                assert body["earliest_end_in_s"] <= 30
                assert time.time() - 60 < body["arrived_s"] <= body["refused_s"] <= time.time()
                assert 20 < body["retry_after_s"] <= int(answer.headers["Retry-After"]) <= 30
        told = [body["request_id"] for body in await bodies(answers) if "routed_to" in body]
        expect_kept(of_services(*stations), told)
        health = await grid.get("balancer", "/health")
        assert (health["accepted_total"], health["refused_total"], health["failed_total"]) == (30, 30, 0)


async def test_a_burst_of_twice_the_grids_slots_is_served_in_turn_where_it_may_wait() -> None:
    """Burst of twice the grid's slots in one go: where there is a queue, the second half has its turn."""
    async with a_grid() as grid:
        stations = [await grid.substation(f"substation{number}", time_scale=60) for number in (1, 2, 3)]
        balancer = await grid.balancer(*(station.name for station in stations), admission="queue", time_scale=60)
        answers = await asyncio.gather(*(grid.route(f"EV{number}", request_id=f"r{number}") for number in range(60)))
        assert {answer.status for answer in answers} == {202}
        await until(lambda: not len(balancer.queue), within_s=30.0)
        expect_kept(of_services(*stations), [body["request_id"] for body in await bodies(answers)])


def test_half_as_much_again_is_offered() -> None:
    """Offered 150 % (blocked near Erlang-B, goodput does not fall): more load fills more, and nothing else."""
    goodput = []
    for load in (0.95, 1.5, 3.0):
        arrivals = poisson(3, load, 3_000, seed=1)
        outcome = simulate("ledger", 3, arrivals)
        assert outcome.blocked_share == pytest.approx(erlang_b(load * 30, 30), abs=0.015)
        assert outcome.blocked_share == blocked_pooled(arrivals, 30, since_s=60.0)
        assert (outcome.excess, outcome.overloads) == (0, 0)
        goodput.append(outcome.arrivals * (1 - outcome.blocked_share) / (arrivals[-1].at_s - 60.0))
    assert goodput == sorted(goodput)


async def test_refusals_cost_no_places() -> None:
    """Offered 150 % (goodput does not fall): through all of a balancer, half of the arrivals refused, places stay full."""
    arrivals = poisson(3, 1.5, 1_000, seed=5)
    world = World([SLOTS] * 3, repeat("ok"))
    told = await Day(Desk(world, "ledger", 1), 5.0).run(arrivals)
    expect_no_worse_than_one_pool(world, arrivals, told)


class Newcomer(World):
    """Twenty substations, and later `new`: `first` is how many requests asked it before it had ever answered."""

    def __init__(self) -> None:
        super().__init__([SLOTS] * 20, repeat("ok"))
        self.asked = self.first = 0

    def come(self, desk: Desk) -> None:
        self.cores["new"] = Admission(SubstationSettings(name="new", max_sessions=SLOTS), 99)
        desk.ledger.update(Target(name, f"http://{name}") for name in self.cores)

    async def charge(self, target: Target, request_id: str, body: bytes, timeout_s: float) -> line.Answer:
        self.asked += target.name == "new"
        answer = await super().charge(target, request_id, body, timeout_s)
        if target.name == "new":
            self.first = self.first or self.asked
        return answer


async def test_a_new_empty_substation_at_high_load() -> None:
    """A new empty substation at 95 % load takes its share, as if it had always been there."""
    world, arrivals = Newcomer(), poisson(20, 0.95, 1_600, seed=6)
    desk = Desk(world, "ledger", 1)
    day = Day(desk, 5.0)
    day.at(120.0, lambda: world.come(desk))
    told = await day.run(arrivals)
    assert told.in_vain == []
    records = of_world(world)
    expect_kept(records, told.accepted)
    perfect = jsq_spread(arrivals, [SLOTS] * 21, since_s=180.0)
    spread = figures(records, 180.0, arrivals[-1].at_s).spread
    assert spread is not None
    assert perfect is not None
    assert spread <= NEAR_PERFECT * perfect


async def test_a_new_empty_substation_in_a_burst() -> None:
    """A new empty substation at 95 % load: of many at once one tries it first, then they fill it, and not over."""
    world = Newcomer()
    desk = Desk(world, "ledger", 1)
    told = await Day(desk, 5.0).run(poisson(20, 0.95, 600, seed=6))
    world.come(desk)
    room = sum(core.max_sessions - world.report(name).sessions for name, core in world.cores.items())
    burst = await ask_all(desk, [f"burst{number}" for number in range(room + 10)], duration_s=30.0)
    assert len(accepted(burst)) == room, "nobody is refused while there is room"
    assert all(core.sessions == SLOTS for core in world.cores.values())
    assert world.first == 1
    expect_kept(of_world(world), [*told.accepted, *(answer["request_id"] for answer in accepted(burst))])


async def hung_up(grid: Grid, request_id: str, **fields: Any) -> None:
    """A client that asks and is gone before any answer."""
    body = json.dumps({"ev_id": f"EV-{request_id}", "request_id": request_id, **fields}).encode()
    address = grid.urls["balancer"].removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(address[0], int(address[2]))
    head = (
        f"POST /route HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_queue_of_dead_clients() -> None:
    """A queue of dead clients: whose departure has passed is dropped and counted, and holds no place."""
    async with a_grid() as grid:
        station = await grid.substation("substation1", max_sessions=2)
        balancer = await grid.balancer("substation1", admission="queue")
        for number in range(2):
            await grid.route(f"EV{number}", request_id=f"r{number}", duration_s=3600)
        for number in range(20):
            await hung_up(grid, f"dead{number}", departure_in_s=1.0)
        for number in range(2):
            assert (await grid.route(f"live{number}", request_id=f"live{number}", departure_in_s=3600)).status == 202
        await until(lambda: {waiting.request_id for waiting in balancer.queue} == {"live0", "live1"}, within_s=30.0)
        page = await grid.get("balancer", "/metrics")
        assert 'balancer_queue_drops_total{reason="departed"} 20.0' in page
        assert "balancer_queue_length 2.0" in page
        for number in range(2):
            await grid.client.delete(f"{grid.urls['balancer']}/requests/r{number}")
        await until(lambda: not len(balancer.queue), within_s=30.0)
        assert [session.request_id for session in station.admission.running()] == ["live0", "live1"]
        gone = await grid.get("balancer", "/requests/dead7")
        assert (gone["state"], gone["reason"]) == ("dropped", "departed")
        expect_kept(of_services(station), ["r0", "r1", "live0", "live1"])
