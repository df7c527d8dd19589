"""Substations that restart, lie, or are wrong about the time."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import web

from config.report import HEADER, Report
from config.settings import SubstationSettings
from services.clock import SystemClock
from services.substation.admission import Admission
from services.substation.service import SubstationService
from tests.services.balancer.cases.asking import accepted, ask_all, bodies, waited
from tests.services.balancer.day import Day
from tests.services.balancer.promises import expect_kept, of_services, of_world
from tests.services.balancer.test_external import Stranger
from tests.services.balancer.test_failures import EMPTY, Liar, full, hang, nonsense
from tests.services.balancer.test_simulation import SLOTS, poisson
from tests.services.balancer.world import Desk, World
from tests.services.grid import Grid, a_grid, until


class Reset(SystemClock):
    """The system's clock after a new start of the machine, by which it was moved."""

    machine = ""

    def __init__(self, step_s: float) -> None:
        super().__init__()
        self._anchor_s += step_s


@pytest.mark.parametrize(("step_s", "room"), [(0.0, 2), (-86_400.0, 2), (60.0, 4)])
async def test_a_substation_restarts(tmp_path: Path, unused_tcp_port: int, step_s: float, room: int) -> None:
    """Substation restart, clock jump: what it had charges on, or is over; no place is lost, or given twice."""
    async with a_grid() as grid:
        settings = SubstationSettings(name="substation1", max_sessions=3, journal=str(tmp_path / "s.db"))
        other = await grid.substation("substation2", max_sessions=3)
        async with a_grid() as before:
            await before.serve(SubstationService(settings, SystemClock(), Random(1)), unused_tcp_port)
            grid.urls |= before.urls
            balancer = await grid.balancer("substation1", "substation2")
            told = await bodies([await grid.route(f"EV{number}", request_id=f"r{number}") for number in range(4)])
        again = SubstationService(settings, Reset(step_s) if step_s else SystemClock(), Random(2))
        await grid.serve(again, unused_tcp_port)
        answers = await asyncio.gather(*(grid.route(f"EV{number}", request_id=f"r{number}") for number in range(4, 9)))
        assert Counter(answer.status for answer in answers) == {202: room, 503: 5 - room}
        account = balancer.ledger.get("substation1")
        assert account is not None
        assert account.report is not None
        assert account.report.epoch == again.admission.epoch
        repeated = await bodies([await grid.route(f"EV{number}", request_id=f"r{number}") for number in range(4)])

        assert [body["routed_to"] for body in repeated] == [body["routed_to"] for body in told]
        placed = [body["request_id"] for body in [*told, *await bodies(answers)] if "routed_to" in body]
        expect_kept(of_services(again, other), placed)


@pytest.mark.parametrize("sessions", [0, 2])
async def test_a_restarted_substation_uses_an_epoch_again(sessions: int) -> None:
    """Epoch reuse: a restart that looks like the old run, with older numbers, costs nobody a place."""
    world = World([4, 4], repeat("ok"))
    desk = Desk(world, "ledger", 1)
    await ask_all(desk, [f"r{number}" for number in range(6)])
    old = world.cores["s0"]
    world.cores["s0"] = again = Admission(SubstationSettings(name="s0", max_sessions=4), old.epoch)
    again.resume(list(old.running())[:sessions], [])
    assert again.seq < old.seq
    asked = [f"t{number}" for number in range(12)]
    answers = [await desk.ask(request_id) for request_id in asked]
    assert len(accepted(answers)) == 1 + 4 - sessions, "nobody is refused while there is room"
    expect_kept(of_world(world), [answer["request_id"] for answer in accepted(answers)])


@pytest.mark.parametrize("step_s", [20.0, 86_400.0])
async def test_the_clock_of_a_substation_jumps(step_s: float) -> None:
    """Clock jump: a substation's clock that is suddenly another overloads nobody and costs nobody a place."""
    world = World([SLOTS] * 3, repeat("ok"))
    day = Day(Desk(world, "ledger", 1), 5.0)

    def jump() -> None:
        world.ahead_s["s1"] += step_s

    day.at(150.0, jump)
    told = await day.run(poisson(3, 0.95, 400, seed=3))
    assert told.in_vain == []
    assert world.clock.monotonic_s() > 400
    expect_kept(of_world(world), told.accepted)


async def test_all_clocks_jump_while_a_reply_is_on_its_way() -> None:
    """Clock jump: a machine that slept for an hour finds its sessions ended, and all its places free."""
    world = World([2, 2], repeat("ok"))
    desk = Desk(world, "ledger", 1)
    await ask_all(desk, [f"r{number}" for number in range(4)], duration_s=30.0)
    asking = asyncio.ensure_future(ask_all(desk, [f"t{number}" for number in range(4)], within_s=1e5, duration_s=30.0))
    await asyncio.sleep(0)
    waited(world, 3600.0)
    assert len(accepted(await asking)) == 4
    expect_kept(of_world(world), [f"{kind}{number}" for kind in "rt" for number in range(4)])


LIES = {
    "0": EMPTY,
    "0 of 0": Report(epoch=7, seq=1, sessions=0, load_w=0, max_sessions=0).encode(),
    "NaN": EMPTY.replace("sessions=0", "sessions=NaN"),
    "negative": EMPTY.replace("load_w=0", "load_w=-7400"),
    "1e308": EMPTY.replace("max=1000", "max=1e308"),
    "an end at 1e308": EMPTY.replace("sessions=0;load_w=0", "sessions=1;load_w=7400") + "1e308:1:7400",
}


async def accept_for_nan_seconds(_: web.Request) -> web.StreamResponse:
    return web.Response(status=202, text='{"ends_in_s": NaN, "retry_after_s": -1e308}', headers={HEADER: EMPTY})


async def accept_until_1e308(_: web.Request) -> web.StreamResponse:
    return web.Response(status=202, text='{"ends_in_s": 1e308}', headers={HEADER: EMPTY})


async def refuse_until_1e308(_: web.Request) -> web.StreamResponse:
    text = '{"reason": "substation-full", "retry_after_s": 1e308}'
    return web.Response(status=503, text=text, headers={HEADER: EMPTY})


async def twelve_beside(grid: Grid, liar: Liar, **settings: Any) -> int:
    """Fourteen EVs at once for two honest substations of six places beside `liar`; how many got a place."""
    await grid.serve_app("liar", liar.app)
    honest = [await grid.substation(f"substation{number}", max_sessions=6) for number in (1, 2)]
    balancer = await grid.balancer("liar", "substation1", "substation2", request_timeout_s=3.0, **settings)
    answers = await asyncio.gather(*(grid.route(f"EV{number}", request_id=f"r{number}") for number in range(14)))
    assert {answer.status for answer in answers} <= {202, 503}
    told = await bodies(answers)
    assert all(0 <= body.get(key, 0) <= 30 for body in told for key in ("ends_in_s", "retry_after_s"))
    placed = [body for body in told if "routed_to" in body]
    at_honest = [body["request_id"] for body in placed if body["routed_to"] != "liar"]
    assert len(placed) == 14 or len(at_honest) == 12, "nobody is refused while an honest one has room"
    await until(lambda: not len(balancer.placer.revocations))
    expect_kept(of_services(*honest), at_honest)
    assert len(at_honest) == sum(station.admission.sessions for station in honest)
    status = await grid.get("balancer", "/status")
    assert "NaN" not in json.dumps(status)
    return len(placed)


@pytest.mark.parametrize("charge", [full, nonsense, accept_for_nan_seconds, accept_until_1e308, refuse_until_1e308])
@pytest.mark.parametrize("lie", LIES)
async def test_a_liar_breaks_no_placement(lie: str, charge: Callable[[web.Request], Any]) -> None:
    """A liar (0, NaN, negative, 1e308): whatever it reports and answers, honest ones are filled, and not over."""
    async with a_grid() as grid:
        liar = Liar(charge)
        liar.report = LIES[lie]
        assert await twelve_beside(grid, liar) >= 12


@pytest.mark.parametrize("page", ["current_load 0", "current_load NaN", "current_load -5", "current_load 1e308"])
async def test_the_gauge_of_a_foreign_one_lies(page: str) -> None:
    """A liar (0, NaN, negative, 1e308): a foreign substation whose gauge lies takes no place away from others."""
    async with a_grid() as grid:
        honest = await grid.substation("substation1", max_sessions=6)
        foreign = Stranger(lambda _: page)
        url = await grid.third_party("other", foreign.charge, foreign.metrics)
        await grid.balancer(f"other={url}#current_load", "substation1", poll_interval_s=60.0)
        answers = await asyncio.gather(*(grid.route(f"EV{number}", request_id=f"r{number}") for number in range(18)))
        assert Counter(answer.status for answer in answers) == {202: 16, 503: 2}
        assert (honest.admission.sessions, foreign.most) == (6, 10)
        expect_kept(of_services(honest))


@pytest.mark.parametrize("charge", [full, nonsense])
async def test_one_serves_metrics_but_refuses(charge: Callable[[web.Request], Any]) -> None:
    """One that serves `/metrics` but refuses: it is believed no longer than it can be, and costs nobody a place."""
    async with a_grid() as grid:
        liar = Liar(charge)
        assert await twelve_beside(grid, liar, poll_interval_s=0.05) == 12
        asked = Counter(each["request_id"] for each in liar.asked)
        assert max(asked.values()) == 1, "nobody asks it twice"


async def test_one_accepts_but_hangs_on_metrics() -> None:
    """One that accepts but hangs `/metrics` is asked last, after those that can be heard, and is used."""

    async def accept(_: web.Request) -> web.StreamResponse:
        return web.json_response({"ends_in_s": 30}, status=202)

    async with a_grid() as grid:
        liar = Liar(accept, metrics=hang)
        assert await twelve_beside(grid, liar, poll_interval_s=1.0) == 14
        assert len(liar.asked) == 2
