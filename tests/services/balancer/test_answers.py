"""The same request gets the same answer, an EV has one session; also after the balancer restarted."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from config.messages import SubstationCharge
from config.policies import SHIPPED
from config.problems import Problem
from services.balancer.line import Answer
from services.balancer.targets import Target
from tests.services.balancer.world import Desk, World
from tests.services.grid import Grid, a_grid, until


async def _reason(answer: Any) -> tuple[int, str]:
    return answer.status, (await answer.json())["reason"]


async def test_the_same_request_again_gets_the_same_answer() -> None:
    async with a_grid() as grid:
        stations = [await grid.substation(f"substation{number}") for number in (1, 2, 3)]
        await grid.balancer("substation1", "substation2", "substation3")
        at_once = await asyncio.gather(*(grid.route("EV1", request_id="r1") for _ in range(20)))
        later = await grid.route("EV1", request_id="r1")
        bodies = [await answer.json() for answer in (*at_once, later)]
        assert {body["routed_to"] for body in bodies} == {bodies[0]["routed_to"]}
        assert sum(station.admission.sessions for station in stations) == 1
        assert await _reason(await grid.route("EV2", request_id="r1")) == (409, "request-id-taken")


async def test_an_ev_charges_once_at_a_time() -> None:
    async with a_grid() as grid:
        station = await grid.substation("substation1")
        await grid.balancer("substation1")
        answers = await asyncio.gather(*(grid.route("EV1") for _ in range(10)))
        assert Counter(answer.status for answer in answers) == {202: 1, 409: 9}
        refused = await grid.route("EV1", request_id="r2")
        problem = await refused.json()
        assert problem["reason"] == "ev-is-charging"
        assert problem["charging_request_id"] == next(iter(station.admission.running())).request_id
        assert station.admission.sessions == 1


async def test_an_ev_whose_session_ended_early_may_charge_again() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1")
        await grid.balancer("substation1")
        await grid.route("EV1", request_id="r1")
        await grid.client.delete(grid.urls["substation1"] + "/sessions/r1")
        assert (await grid.route("EV1", request_id="r2")).status == 202


async def test_an_ev_may_charge_again_after_its_planned_end() -> None:
    async with a_grid() as grid:
        station = await grid.substation("substation1", session_s=0.05)
        await grid.balancer("substation1", session_s=0.05)
        await grid.route("EV1", request_id="r1")
        await until(lambda: station.admission.report(grid_s(station)).sessions == 0)
        assert (await grid.route("EV1", request_id="r2")).status == 202


def grid_s(station: Any) -> float:
    return float(station._clock.grid_s())


async def test_a_refused_request_may_come_again() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1", max_sessions=1)
        await grid.balancer("substation1")
        await grid.route("EV1", request_id="r1")
        assert await _reason(await grid.route("EV2", request_id="r2")) == (503, "grid-full")
        await grid.client.delete(grid.urls["substation1"] + "/sessions/r1")
        later = asyncio.get_running_loop().time() + 1
        while (answer := await grid.route("EV2", request_id="r2")).status != 202:
            assert asyncio.get_running_loop().time() < later, "a report is believed for a moment only"
            assert answer.status == 503


async def test_a_restarted_balancer_knows_what_runs() -> None:
    async with a_grid() as grid:
        stations = [await grid.substation(f"substation{number}") for number in (1, 2)]
        await grid.balancer("substation1", "substation2")
        first = await (await grid.route("EV1", request_id="r1")).json()
        await grid.balancer("substation1", "substation2")
        again = await (await grid.route("EV1", request_id="r1")).json()
        assert again["routed_to"] == first["routed_to"]
        assert await _reason(await grid.route("EV1", request_id="r2")) == (409, "ev-is-charging")
        assert sum(station.admission.sessions for station in stations) == 1


async def test_a_duplicate_that_a_restarted_balancer_finds_is_revoked() -> None:
    async with a_grid() as grid:
        stations = [await grid.substation(f"substation{number}") for number in (1, 2)]
        await grid.post("substation1", "/charge", {"ev_id": "EV1", "request_id": "r1", "attempt": 1})
        await grid.post("substation2", "/charge", {"ev_id": "EV1", "request_id": "r1", "attempt": 2})
        await grid.balancer("substation1", "substation2")
        await until(lambda: stations[0].admission.sessions == 0)
        assert stations[1].admission.sessions == 1
        assert (await (await grid.route("EV1", request_id="r1")).json())["routed_to"] == "substation2"


async def test_an_attempt_that_was_revoked_before_is_followed_by_a_higher_one() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1")
        await grid.client.delete(grid.urls["substation1"] + "/sessions/r1?attempt=3")
        await grid.balancer("substation1")
        assert (await grid.route("EV1", request_id="r1")).status == 202
        assert (await grid.get("substation1", "/sessions/r1"))["attempt"] == 4


async def test_an_array_is_answered_in_order_each_on_its_own() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1", max_sessions=2)
        await grid.balancer("substation1")
        requests = [{"ev_id": "EV1"}, {"ev": 3}, {"ev_id": "EV1"}, {"ev_id": "EV2"}]
        answer = await grid.post("balancer", "/route", requests)
        assert answer.status == 200
        elements = await answer.json()
        assert [element["status_code"] for element in elements] == [202, 422, 409, 202]
        assert {fault["field"] for fault in elements[1]["errors"]} == {"ev", "ev_id"}
        keyed = await grid.post("balancer", "/route", [{"ev_id": "EV9"}], headers={"Idempotency-Key": "r1"})
        assert keyed.status == 422


async def test_more_power_than_any_has_is_the_clients_fault() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1", capacity_kw=22)
        await grid.substation("substation2", capacity_kw=50)
        await grid.balancer("substation1", "substation2")
        assert await _reason(await grid.route("EV1", power_kw=51)) == (422, "over-capacity")
        answer = await grid.route("EV2", power_kw=50)
        assert (await answer.json())["routed_to"] == "substation2"


async def test_a_substations_own_default_power_does_not_mislead() -> None:
    """The balancer believes 7.4 kW; this one draws 3 kW by default, or more than it has."""
    async with a_grid() as grid:
        await grid.substation("substation1", capacity_kw=6, power_kw=3)
        await grid.substation("substation2", capacity_kw=6, power_kw=11)
        await grid.balancer("substation1", "substation2")
        answers = [await grid.route(f"EV{number}") for number in range(3)]
        assert [answer.status for answer in answers] == [202, 202, 503]


def _targets(grid: Grid, *names: str, draining: str = "") -> str:
    labels = {"job": "substation", "cluster": "grid"}
    return json.dumps(
        [
            {
                "targets": [grid.urls[name].removeprefix("http://")],
                "labels": {**labels, "substation_id": name, **({"draining": "true"} if name == draining else {})},
            }
            for name in names
        ]
    )


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


async def test_substations_come_drain_and_leave(tmp_path: Path) -> None:
    async with a_grid() as grid:
        for number in (1, 2):
            await grid.substation(f"substation{number}")
        path = tmp_path / "targets.json"
        path.write_text(_targets(grid, "substation1"))
        balancer = await grid.balancer(targets_file=str(path))
        assert len(balancer.ledger) == 1

        _replace(path, _targets(grid, "substation1", "substation2", draining="substation1"))
        await until(lambda: len(balancer.ledger) == 2)
        answers = [await (await grid.route(f"EV{number}")).json() for number in range(3)]
        assert {answer["routed_to"] for answer in answers} == {"substation2"}

        path.write_text("[{")
        _replace(path, _targets(grid, "substation2"))
        await until(lambda: len(balancer.ledger) == 1)
        page = await grid.get("balancer", "/metrics")
        assert 'substation_load_percentage{substation_id="substation2"}' in page
        assert "substation1" not in page


async def test_all_draining_is_said() -> None:
    async with a_grid() as grid:
        station = await grid.substation("substation1")
        await grid.balancer("substation1", request_timeout_s=1.0)
        station.command({"do": "drain"})
        assert await _reason(await grid.route()) == (503, "draining")
        status = await grid.get("balancer", "/status")
        assert status["substations"][0]["state"] == "draining"


@pytest.mark.parametrize("policy", sorted(set(SHIPPED) - {"least-loaded-stale"}))
async def test_every_policy_fills_the_grid(policy: str) -> None:
    async with a_grid() as grid:
        stations = [await grid.substation(f"substation{number}", max_sessions=number) for number in (1, 2, 3)]
        await grid.balancer("substation1", "substation2", "substation3", policy=policy)
        answers = await asyncio.gather(*(grid.route(f"EV{number}") for number in range(8)))
        assert Counter(answer.status for answer in answers) == {202: 6, 503: 2}
        assert [station.admission.sessions for station in stations] == [1, 2, 3]


class _Slow(World):
    """Two full substations; the second one that is asked decides at once, and says so only once `told` is set."""

    def __init__(self) -> None:
        super().__init__([1, 1], repeat("ok"))
        self.full: list[str] = []
        self.both, self.told = asyncio.Event(), asyncio.Event()

    async def charge(self, target: Target, request_id: str, body: bytes, timeout_s: float) -> Answer:
        answer = await super().charge(target, request_id, body, timeout_s)
        self.full.append(target.name)
        if len(self.full) == 2:
            self.both.set()
            await self.told.wait()
        return answer


async def test_a_repeated_request_is_not_refused_by_what_was_said_before_it_came() -> None:
    world = _Slow()
    desk = Desk(world, "ledger", 0)
    for name, core in world.cores.items():  # by another balancer: this one believes both to be free
        core.admit(SubstationCharge(ev_id=name, duration_s=1e8), name, world.clock.grid_s())
    first = asyncio.ensure_future(desk.ask("r1"))
    await world.both.wait()
    free = world.full[0]
    world.cores[free].revoke(free, None, world.clock.grid_s(), "cancelled")
    world.clock.jump(1.0)
    again = asyncio.ensure_future(desk.ask("r1"))
    for _ in range(3):
        await asyncio.sleep(0)
    world.told.set()
    refused, placed = await first, await again
    assert isinstance(refused, Problem)
    assert refused.reason == "grid-full"
    assert isinstance(placed, dict)
    assert placed["routed_to"] == free
