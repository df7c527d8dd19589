"""Small and large capacities, and what a large request meets in them."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import repeat
from typing import Any

import pytest

from config.problems import Problem
from tests.services.balancer.cases.asking import accepted, ask_all, bodies, waited
from tests.services.balancer.promises import expect_kept, of_services, of_world
from tests.services.balancer.world import Desk, World
from tests.services.grid import a_grid, until


async def test_capacities_from_one_to_a_thousand() -> None:
    """Capacities 1…1000: each is filled in proportion, and to the last place."""
    places = [1, 3, 10, 100, 1000]
    world = World(places, repeat("ok"))
    desk = Desk(world, "ledger", 1)
    half = await ask_all(desk, [f"r{number}" for number in range(557)])
    assert len(accepted(half)) == 557
    for core in world.cores.values():
        assert core.sessions == pytest.approx(core.max_sessions / 2, abs=1)
    rest = await ask_all(desk, [f"t{number}" for number in range(600)])
    assert len(accepted(rest)) == 557
    assert [core.sessions for core in world.cores.values()] == places
    expect_kept(of_world(world), [answer["request_id"] for answer in accepted([*half, *rest])])


async def test_a_substation_is_derated_below_its_load(unused_tcp_port: int) -> None:
    """Derated below load: what charges goes on, nobody is let in there until there is room, others are filled."""
    async with a_grid() as grid:
        stations = [await grid.substation(f"substation{number}", max_sessions=6) for number in (1, 2)]
        at: dict[str, Any] = {"port": unused_tcp_port, "url": f"http://127.0.0.1:{unused_tcp_port}"}
        balancer = await grid.balancer("substation1", "substation2", **at)
        told = [await (await grid.route(f"EV{number}", request_id=f"r{number}")).json() for number in range(8)]
        derated, other = stations
        before = list(derated.admission.running())
        derated.command({"do": "derate", "max_sessions": 2})
        answers = await asyncio.gather(*(grid.route(f"EV{number}", request_id=f"r{number}") for number in range(8, 13)))
        assert Counter(answer.status for answer in answers) == {202: 2, 503: 3}
        assert list(derated.admission.running()) == before
        assert other.admission.sessions == 6
        for session in before[:2]:
            await grid.client.delete(f"{grid.urls['substation1']}/sessions/{session.request_id}")
        assert (await grid.route("late", request_id="late")).status == 503
        await grid.client.delete(f"{grid.urls['substation1']}/sessions/{before[2].request_id}")
        assert (await grid.route("late", request_id="late")).status == 202
        assert derated.admission.sessions == 2
        derated.command({"do": "derate"})
        await until(lambda: balancer.ledger.totals(0.0).max_sessions == 12)
        assert [(await grid.route(f"last{number}")).status for number in range(5)] == [202] * 4 + [503]
        taken = [body["request_id"] for body in [*told, *await bodies(answers)] if "routed_to" in body]
        expect_kept(of_services(*stations), [*taken, "late"])


async def test_one_that_is_derated_below_a_request_does_not_say_when_it_fits() -> None:
    """Derated below what a request draws: when that fits is what the others' planned ends tell."""
    async with a_grid() as grid:
        stations = [await grid.substation(f"substation{n}", max_sessions=2, capacity_kw=14.8) for n in (1, 2)]
        await grid.balancer("substation1", "substation2")
        for number in range(4):
            assert (await grid.route(f"EV{number}", duration_s=100)).status == 202
        stations[0].command({"do": "derate", "capacity_kw": 5})
        for number in range(4):
            refused = await (await grid.route(f"late{number}")).json()
            assert (refused["reason"], 90 < refused["retry_after_s"] <= 100) == ("grid-full", True)


@pytest.mark.parametrize(("policy", "large"), [("ledger", 7), ("least-loaded", 5)])
async def test_fragments_are_not_made(policy: str, large: int) -> None:
    """A 150 kW request into fragments: `ledger` lets small ones share one place for a large one, and spares the others."""
    world = World([100] * 4, repeat("ok"), capacity_kw=300)
    desk = Desk(world, policy, 1)
    assert accepted([await desk.ask("large", power_kw=150)])
    small = [await desk.ask(f"r{number}", power_kw=7.4) for number in range(12)]
    more = [await desk.ask(f"large{number}", power_kw=150) for number in range(8)]
    assert len(accepted(small)) == 12
    assert 1 + len(accepted(more)) == large
    expect_kept(of_world(world), [answer["request_id"] for answer in accepted([*small, *more])])


async def test_a_large_request_meets_fragments() -> None:
    """A 150 kW request into fragments: 384 kW are free, and nowhere 150; it is told exactly when there will be."""
    world = World([10] * 3, repeat("ok"), capacity_kw=150)
    desk = Desk(world, "least-loaded", 1)
    for number in range(3):
        await desk.ask(f"r{number}", power_kw=22, duration_s=10.0 * (number + 1))
    refused = await desk.ask("large", power_kw=150)
    assert isinstance(refused, Problem)
    assert refused.reason == "grid-full"
    assert refused.retry_after_s == pytest.approx(10.0)
    waited(world, 9.9)
    assert isinstance(await desk.ask("large", power_kw=150), Problem)
    waited(world, 0.1 + 1e-6)
    assert accepted([await desk.ask("large", power_kw=150)])
    never = await desk.ask("larger", power_kw=151)
    assert isinstance(never, Problem)
    assert (never.status, never.reason) == (422, "over-capacity")
    expect_kept(of_world(world), ["r0", "r1", "r2", "large"])
