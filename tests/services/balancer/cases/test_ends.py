"""Sessions that end otherwise than planned."""

from __future__ import annotations

from functools import partial
from itertools import repeat
from random import Random
from typing import Any

from config.settings import BalancerSettings
from services.balancer.service import BalancerService
from services.clock import FakeClock
from services.routing.reference import blocked_pooled
from tests.services.balancer.cases.asking import accepted, ask_all, waited
from tests.services.balancer.day import Day
from tests.services.balancer.promises import expect_kept, of_services, of_world
from tests.services.balancer.test_external import Stranger
from tests.services.balancer.test_simulation import SLOTS, poisson
from tests.services.balancer.world import Desk, World
from tests.services.grid import a_grid, until


async def test_an_ev_unplugs_early(unused_tcp_port: int) -> None:
    """Early unplug: the place is given on at once, though its plan said an hour and nobody polls."""
    async with a_grid() as grid:
        station = await grid.substation("substation1", max_sessions=1)
        at: dict[str, Any] = {"port": unused_tcp_port, "url": f"http://127.0.0.1:{unused_tcp_port}"}
        balancer = await grid.balancer("substation1", admission="queue", **at)
        for number in (1, 2):
            assert (await grid.route(f"EV{number}", request_id=f"r{number}", duration_s=3600)).status == 202
        assert len(balancer.queue) == 1
        await grid.client.delete(grid.urls["substation1"] + "/sessions/r1")
        await until(lambda: not len(balancer.queue), within_s=30.0)
        assert [session.request_id for session in station.admission.running()] == ["r2"]
        expect_kept(of_services(station), ["r1", "r2"])


async def test_every_other_ev_unplugs_early() -> None:
    """Early unplug: where no substation can tell of it at once, the next poll or question does, and no place is wasted."""
    arrivals, world = poisson(3, 1.5, 1_000, seed=7), World([SLOTS] * 3, repeat("ok"))
    day = Day(Desk(world, "ledger", 1), 5.0)

    def unplug(request_id: str) -> None:
        for name, core in world.cores.items():
            if core.find(request_id) is not None:
                core.revoke(request_id, None, world.time_s(name), "cancelled")

    for number, arrival in enumerate(arrivals[::2]):
        day.at(arrival.at_s + arrival.length_s / 2, partial(unplug, f"r{2 * number}"))
    told = await day.run(arrivals)
    assert len(told.in_vain) <= 2, "that all is full is believed for 50 ms without asking"
    expect_kept(of_world(world), told.accepted)
    planned = blocked_pooled(arrivals, 3 * SLOTS)
    assert planned is not None
    assert len(told.refused) / len(arrivals) < planned - 0.1


async def test_sessions_overrun_their_plan() -> None:
    """Overrun: a place that should be free and is not is given to nobody; where there is another, that is found."""
    world = World([2, 2], repeat("ok"))
    desk = Desk(world, "ledger", 1)
    for number in range(3):
        await desk.ask(f"r{number}", duration_s=10.0)
    behind = max(world.cores, key=lambda name: world.cores[name].sessions)
    waited(world, 11.0)
    world.ahead_s[behind] = -11.0  # its clock stood still: by its own time all charge on
    answers = await ask_all(desk, [f"t{number}" for number in range(4)])
    assert len(accepted(answers)) == 2
    assert {answer["routed_to"] for answer in accepted(answers)} == set(world.cores) - {behind}
    for core in world.cores.values():
        assert core.sessions == 2


async def test_sessions_of_a_foreign_one_overrun_their_plan() -> None:
    """Overrun: of a foreign substation its gauge is believed, not the plan."""
    async with a_grid() as grid:
        foreign, clock = Stranger(), FakeClock()
        url = await grid.third_party("other", foreign.charge, foreign.metrics)
        settings = BalancerSettings(substations=(f"other={url}#current_load",), poll_interval_s=0.02)
        balancer = BalancerService(settings, clock, Random(1))
        await grid.serve(balancer)
        await until(lambda: balancer.health().status == "ok")
        assert {(await grid.route(f"EV{number}")).status for number in range(10)} == {202}
        clock.jump(31.0)
        (account,) = balancer.ledger
        await until(lambda: account.heard_at_s == clock.monotonic_s())
        answer = await grid.route("EV10")
        assert (answer.status, foreign.most) == (503, 10)
