"""The cases that balancing must withstand, each under its name; what substations wrote down is the judge.

Real services on real sockets where the network matters, virtual time where time does.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from itertools import repeat
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from config.messages import ChargeRequest, SubstationCharge
from config.problems import Problem
from config.report import HEADER, Report
from config.settings import BalancerSettings, SubstationSettings
from services.balancer import line
from services.balancer.book import Entry
from services.balancer.service import BalancerService
from services.balancer.targets import Target
from services.clock import FakeClock, SystemClock
from services.routing.node import STALE
from services.routing.reference import Arrival, blocked_pooled, erlang_b, jsq_spread
from services.substation.admission import Admission
from services.substation.service import SubstationService
from tests.services.balancer.day import Day, Told
from tests.services.balancer.promises import expect_kept, figures, of_services, of_world
from tests.services.balancer.test_external import Stranger
from tests.services.balancer.test_failures import EMPTY, Liar, full, hang, nonsense, reset
from tests.services.balancer.test_replicas import EVS, Fellows
from tests.services.balancer.test_simulation import SLOTS, poisson, simulate
from tests.services.balancer.world import Desk, World
from tests.services.grid import Grid, a_grid, until

#: The spread may be so much of that of perfect join-the-shortest-queue on the same arrivals.
NEAR_PERFECT = 1.15

#: What the tests below must show, each part of each case in the first line of a docstring.
CASES = (
    ("burst of twice the grid's slots in one go",),
    ("all replicas poll together",),
    ("polls lost, 30 s late, duplicated, older than a newer reply",),
    ("reply lost after admission, connection reset mid-body",),
    ("one id posted to two balancers at once",),
    ("substation restart", "epoch reuse", "clock jump"),
    (
        "a liar (0, NaN, negative, 1e308)",
        "one that serves `/metrics` but refuses",
        "one that accepts but hangs `/metrics`",
    ),
    ("capacities 1…1000", "derated below load"),
    ("a 150 kW request into fragments",),
    ("a balancer crash with assumptions open",),
    ("none, all down", "one, all full", "flapping"),
    ("early unplug", "overrun"),
    ("a substation that answers in 2 s",),
    ("poll intervals 0.1…60 s",),
    ("offered 150 % (blocked near Erlang-B, goodput does not fall)",),
    ("a new empty substation at 95 % load",),
    ("a queue of dead clients",),
)

Answer = dict[str, Any] | Problem


def test_every_case_is_shown() -> None:
    tests = [each for name, each in globals().items() if name.startswith("test_")]
    first_lines = [(each.__doc__ or "").split("\n")[0].lower() for each in tests]
    parts = [part for case in CASES for part in case]
    assert [part for part in parts if not any(part.lower() in line for line in first_lines)] == []


async def bodies(answers: Sequence[aiohttp.ClientResponse]) -> list[dict[str, Any]]:
    return [await answer.json() for answer in answers]


def accepted(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    return [answer for answer in answers if not isinstance(answer, Problem)]


async def ask_all(desk: Desk, ids: Sequence[str], **fields: Any) -> list[Answer]:
    return list(await asyncio.gather(*(desk.ask(request_id, **fields) for request_id in ids)))


def waited(world: World, seconds: float) -> None:
    world.clock.jump(seconds)


# -- burst of twice the grid's slots in one go ----------------------------------------------------------------------------
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


# -- polls ----------------------------------------------------------------------------------------------------------------
async def test_all_replicas_poll_together() -> None:
    """All replicas poll together: four believe the same substation empty at once, and it is not overrun."""
    world = World([10] * 5, repeat("ok"))
    desks = [Desk(world, "ledger", seed) for seed in range(4)]
    rng, told = Random(1), list[str]()
    for turn in range(12):
        emptied = world.cores[f"s{turn % 5}"]
        for session in rng.sample(list(emptied.running()), emptied.sessions * 4 // 5):
            emptied.revoke(session.request_id, None, world.clock.grid_s(), "cancelled")
        now_s = world.clock.monotonic_s()
        for account in (account for desk in desks for account in desk.ledger):
            account.fold(world.report(account.target.name), now_s, now_s, polled=True)
        room = 50 - sum(core.sessions for core in world.cores.values())
        asking = [(desk, f"t{turn}-{number}") for number, desk in enumerate(desks * 4)]
        answers = await asyncio.gather(*(desk.ask(request_id) for desk, request_id in asking))
        assert len(accepted(answers)) == min(room, 16), "nobody is refused while there is room"
        told += [answer["request_id"] for answer in accepted(answers)]
        expect_kept(of_world(world), told)
        waited(world, 5.0)


async def test_all_replicas_poll_together_and_share_a_burst() -> None:
    """All replicas poll together, then each is asked for a share of twice what there is: half of it is placed."""
    async with AsyncExitStack() as stack:
        grid = await stack.enter_async_context(a_grid())
        stations = [await grid.substation(f"substation{number}") for number in (1, 2, 3)]
        fellows = await fellows_of(stack, grid, 4)
        for service in fellows.services.values():
            for station in stations:
                service.core.watch.look(station.name)
        asked = [fellows.ask(number % 4, f"EV{number}", request_id=f"r{number}") for number in range(60)]
        answers = await asyncio.gather(*asked)
        assert Counter(answer.status for answer in answers) == {202: 30, 503: 30}
        told = [body["request_id"] for body in await bodies(answers) if "routed_to" in body]
        expect_kept(of_services(*stations), told)


DELAYS: dict[str, Callable[[Random], Sequence[float]]] = {
    "one in ten lost": lambda rng: (0.0,) if rng.randrange(10) else (),
    "30 s late": lambda _: (30.0,),
    "duplicated": lambda rng: (0.0, 0.0, rng.uniform(0, 10)),
    "older than a newer reply": lambda rng: (rng.uniform(0, 30),),
}


@pytest.mark.parametrize("polls", DELAYS)
async def test_polls_come_as_they_like(polls: str) -> None:
    """Polls lost, 30 s late, duplicated, older than a newer reply: replies and planned ends make up for them."""
    arrivals = poisson(3, 0.95, 1_000, seed=2)
    world = World([SLOTS] * 3, repeat("ok"))
    told = await Day(Desk(world, "ledger", 1), 5.0, DELAYS[polls]).run(arrivals)
    expect_no_worse_than_one_pool(world, arrivals, told)
    perfect = jsq_spread(arrivals, [SLOTS] * 3, since_s=60.0)
    spread = figures(of_world(world), 60.0, arrivals[-1].at_s).spread
    assert spread is not None
    assert perfect is not None
    assert spread <= NEAR_PERFECT * perfect


async def test_a_late_poll_says_full() -> None:
    """Polls 30 s late: one that says "full", of somebody who has gone since, makes nobody be refused."""
    world = World([1], repeat("ok"))
    desk = Desk(world, "ledger", 1)
    elsewhere = SubstationCharge(ev_id="other", duration_s=1.0)  # another balancer sent it
    world.cores["s0"].admit(elsewhere, "other", world.clock.grid_s())
    (account,), said = desk.ledger, world.report("s0")
    waited(world, 30.0)
    account.fold(said, 0.0, world.clock.monotonic_s(), polled=True)
    assert accepted([await desk.ask("r1")])
    expect_kept(of_world(world), ["other", "r1"])


async def test_no_poll_ever_comes() -> None:
    """Polls lost: where not one is answered, replies and planned ends are enough to use every place."""
    arrivals = poisson(3, 0.95, 1_000, seed=2)
    world = World([SLOTS] * 3, repeat("ok"))
    told = await Day(Desk(world, "ledger", 1), 5.0, lambda _: ()).run(arrivals)
    expect_no_worse_than_one_pool(world, arrivals, told)


def expect_no_worse_than_one_pool(world: World, arrivals: Sequence[Arrival], told: Told) -> None:
    """The promises, nobody refused in vain, and no more refused than one pool of all slots would."""
    expect_kept(of_world(world), told.accepted)
    assert told.in_vain == []
    assert len(told.refused) / len(arrivals) == blocked_pooled(
        arrivals, sum(c.max_sessions for c in world.cores.values())
    )


@pytest.mark.parametrize(("substations", "load"), [(3, 0.5), (3, 0.95), (20, 0.8)])
@pytest.mark.parametrize("poll_interval_s", [0.1, 0.5, 5.0, 60.0])
def test_any_poll_interval_is_as_good_as_perfect_information(
    substations: int, load: float, poll_interval_s: float
) -> None:
    """Poll intervals 0.1…60 s: planned ends make each as good as perfect information."""
    arrivals = poisson(substations, load, 1_000, seed=2)
    slots = [SLOTS] * substations
    perfect, pooled = jsq_spread(arrivals, slots, since_s=60.0), blocked_pooled(arrivals, sum(slots), since_s=60.0)
    assert perfect is not None
    for policy in ("ledger", "least-loaded"):
        outcome = simulate(policy, substations, arrivals, poll_interval_s=poll_interval_s)
        assert outcome.spread <= 1.05 * perfect
        assert outcome.blocked_share == pytest.approx(pooled, abs=0.001)
        assert (outcome.excess, outcome.overloads) == (0, 0)


# -- replies --------------------------------------------------------------------------------------------------------------
PassOn = Callable[[], Awaitable[web.Response]]
Spoil = Callable[[web.Request, PassOn], Awaitable[web.StreamResponse]]


async def proxied(grid: Grid, name: str, behind: str, spoil: Spoil, times: int) -> None:
    """Serves `name`, which passes all on to `behind` and answers the first `times` charges by `spoil`."""
    left = [None] * times

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.read()

        async def pass_on() -> web.Response:
            url = grid.urls[behind] + request.path_qs
            async with grid.client.request(request.method, url, data=body, headers=request.headers) as answer:
                kept = {name: answer.headers[name] for name in (HEADER, "Content-Type") if name in answer.headers}
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)

        if request.method == "POST" and left:
            left.pop()
            return await spoil(request, pass_on)
        return await pass_on()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    await grid.serve_app(name, app)


async def reset_after_admission(request: web.Request, pass_on: PassOn) -> web.StreamResponse:
    await pass_on()
    return await reset(request)


async def reset_mid_body(request: web.Request, pass_on: PassOn) -> web.StreamResponse:
    await pass_on()
    response = web.StreamResponse(status=202, headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b'{"response"')
    return await reset(request)


async def two_of_which_the_first_is_preferred(grid: Grid, spoil: Spoil, times: int) -> list[SubstationService]:
    """`substation1`, of which the first `times` charges are answered by `spoil`, and `substation2`, half full."""
    stations = [await grid.substation("behind", max_sessions=8), await grid.substation("substation2", max_sessions=20)]
    for number in range(11):
        await grid.post("substation2", "/charge", {"ev_id": f"before{number}", "request_id": f"before{number}"})
    await proxied(grid, "substation1", "behind", spoil, times)
    return stations


async def prefer_the_second(grid: Grid) -> None:
    for number in range(11):
        await grid.client.delete(f"{grid.urls['substation2']}/sessions/before{number}")


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("spoil", [reset_after_admission, reset_mid_body])
async def test_the_reply_is_lost_after_admission(spoil: Spoil, times: int) -> None:
    """Reply lost after admission, connection reset mid-body: asked again it is the same session, else one elsewhere."""
    async with a_grid() as grid:
        stations = await two_of_which_the_first_is_preferred(grid, spoil, times)
        balancer = await grid.balancer("substation1", "substation2")
        answer = await grid.route("EV1", request_id="r1")
        where = "substation1" if times == 1 else "substation2"
        assert (answer.status, (await answer.json())["routed_to"]) == (202, where)
        await until(lambda: not len(balancer.placer.revocations))
        assert [station.admission.sessions for station in stations] == ([1, 11] if times == 1 else [0, 12])
        record = await grid.get(where, "/sessions/r1")
        assert (record["state"], record["attempt"]) == ("charging", times)
        assert (await (await grid.route("EV1", request_id="r1")).json())["routed_to"] == where
        expect_kept(of_services(*stations), ["r1"])


async def test_the_reply_is_lost_and_what_was_found_meanwhile_is_told_to_nobody() -> None:
    """Reply lost after admission: the attempt may be given up yet, so one who asks again hears from who places it."""
    gate = asyncio.Event()

    async def late(_: web.Request, pass_on: PassOn) -> web.StreamResponse:
        answer = await pass_on()
        await gate.wait()
        return answer

    async with a_grid() as grid:
        (station, _) = await two_of_which_the_first_is_preferred(grid, late, times=1)
        balancer = await grid.balancer("substation1", "substation2")
        first = asyncio.ensure_future(grid.route("EV1", request_id="r1"))
        await until(lambda: station.admission.sessions == 1)
        found = Entry("r1", "EV1", "substation1", 1, time.monotonic() + 300, None, sure=False)
        balancer.core.dispatch.collected("substation1", 1, [found])
        again = ChargeRequest(ev_id="EV1", request_id="r1")
        told = await balancer.core.dispatch.answer(again, time.monotonic() + 0.1)
        assert isinstance(told, Problem)
        gate.set()
        assert (await bodies([await first]))[0]["routed_to"] == "substation1"


@pytest.mark.parametrize(("timeout_s", "where"), [(10.0, "substation1"), (4.0, "substation2")])
async def test_a_substation_answers_in_two_seconds(timeout_s: float, where: str) -> None:
    """A substation that answers in 2 s is waited for where there is time, else left, and delays nobody else."""
    gate, loop = asyncio.Event(), asyncio.get_running_loop()

    async def late(_: web.Request, pass_on: PassOn) -> web.StreamResponse:
        await gate.wait()
        return await pass_on()

    async with a_grid() as grid:
        stations = await two_of_which_the_first_is_preferred(grid, late, times=2)
        balancer = await grid.balancer("substation1", "substation2", request_timeout_s=timeout_s)
        account = balancer.ledger.get("substation1")
        assert account is not None
        began_s = loop.time()
        waiting = asyncio.ensure_future(grid.route("EV1", request_id="r1"))
        await until(lambda: balancer.ledger.totals(loop.time()).sessions > 1 and account.node.rank == STALE)
        others = await asyncio.gather(*(grid.route(f"EV{number}", request_id=f"r{number}") for number in range(2, 7)))
        assert [body["routed_to"] for body in await bodies(others)] == ["substation2"] * 5
        await until(lambda: waiting.done() or (where == "substation1" and loop.time() - began_s >= 2.0))
        gate.set()
        answer = await waiting
        assert (answer.status, (await answer.json())["routed_to"]) == (202, where)
        await until(lambda: not len(balancer.placer.revocations))
        expect_kept(of_services(*stations), [f"r{number}" for number in range(1, 7)])


# -- substations that restart, lie, or are wrong about the time -----------------------------------------------------------
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


# -- capacities -----------------------------------------------------------------------------------------------------------
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


# -- who is there at all --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("names", "reason"),
    [((), "no-substations"), (("a=127.0.0.1:9", "b=127.0.0.1:9"), "substations-unreachable")],
)
async def test_none_or_all_down(names: tuple[str, ...], reason: str) -> None:
    """None, all down: the client is told so, within its time."""
    async with a_grid() as grid:
        await grid.balancer(*names, request_timeout_s=1.0)
        began_s = asyncio.get_running_loop().time()
        answer = await grid.route()
        assert asyncio.get_running_loop().time() - began_s < 1.0
        assert (answer.status, (await answer.json())["reason"]) == (503, reason)
        assert answer.headers["Retry-After"] == "1"
        assert (await grid.get("balancer", "/health"))["failed_total"] == 1


@pytest.mark.parametrize("substations", [1, 3])
async def test_one_or_all_full(substations: int) -> None:
    """One, all full: who comes is told when the first of all ends, exactly, and then there is room."""
    world = World([2] * substations, repeat("ok"))
    desk = Desk(world, "ledger", 1)
    for number in range(2 * substations):
        await desk.ask(f"r{number}", duration_s=10.0 + number)
    waited(world, 1.0)
    refused = await desk.ask("late")
    assert isinstance(refused, Problem)
    assert refused.status == 503
    assert refused.retry_after_s == pytest.approx(9.0)
    waited(world, 9.0)
    assert accepted([await desk.ask("late")])
    expect_kept(of_world(world), ["late", *(f"r{number}" for number in range(2 * substations))])


class Flapping(World):
    """`s0` can be reached in every other span of `span_s` seconds."""

    def __init__(self, places: list[int], span_s: float) -> None:
        super().__init__(places, repeat("ok"))
        self._span_s = span_s
        self.missed = 0

    def is_up(self, name: str) -> bool:
        return name != "s0" or int(self.clock.monotonic_s() / self._span_s) % 2 == 0

    def fate(self, name: str) -> str:
        if self.is_up(name):
            return "ok"
        self.missed += 1
        return "unreachable"


@pytest.mark.parametrize(("load", "least_share"), [(0.5, 0.03), (0.95, 0.5)])
@pytest.mark.parametrize("span_s", [0.5, 3.0, 20.0])
async def test_one_flaps(span_s: float, load: float, least_share: float) -> None:
    """Flapping: one that comes and goes is used where it is needed, and few ask it in vain."""
    world = Flapping([SLOTS] * 3, span_s)
    told = await Day(Desk(world, "ledger", 1), 5.0).run(poisson(3, load, 700, seed=4), within_s=0.4)
    assert told.in_vain == []
    records = of_world(world)
    expect_kept(records, told.accepted)
    flapping, steady, _ = (len(stays) for _, stays in records.values())
    assert flapping > least_share * steady
    assert world.missed < 175, "half of the time it is not there, and it looks the emptiest all the while"


# -- other ends than planned ----------------------------------------------------------------------------------------------
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


# -- balancers ------------------------------------------------------------------------------------------------------------
async def fellows_of(stack: AsyncExitStack, grid: Grid, count: int, **settings: Any) -> Fellows:
    """Balancers that know each other, over all whose name begins with `s`."""
    fellows = Fellows(grid, count, **settings)
    stack.push_async_callback(fellows.close)
    await fellows.start_all()
    return fellows


@pytest.mark.parametrize("balancers", [2, 4])
async def test_one_id_is_posted_to_two_balancers_at_once(balancers: int) -> None:
    """One id posted to two balancers at once, and again: all give one answer, and there is one session."""
    async with AsyncExitStack() as stack:
        grid = await stack.enter_async_context(a_grid())
        stations = [await grid.substation(f"substation{number}") for number in (1, 2, 3)]
        fellows = await fellows_of(stack, grid, balancers)
        for number in range(12):
            ids = {"ev_id": f"EV{number}", "request_id": f"r{number}"}
            asked = [fellows.ask(each, **ids) for each in range(balancers) for _ in range(2)]
            answers = await bodies(await asyncio.gather(*asked))
            assert len({answer["routed_to"] for answer in answers}) == 1
        assert sum(station.admission.sessions for station in stations) == 12
        expect_kept(of_services(*stations), [f"r{number}" for number in range(12)])


async def test_one_id_is_posted_to_two_balancers_at_once_where_all_is_full() -> None:
    """One id posted to two balancers at once: for the last place one of many gets it, and both are told the same."""
    async with AsyncExitStack() as stack:
        grid = await stack.enter_async_context(a_grid())
        station = await grid.substation("substation1", max_sessions=1)
        fellows = await fellows_of(stack, grid, 2)
        asked = [fellows.ask(each, f"EV{n}", request_id=f"r{n}") for n in range(6) for each in (0, 1)]
        answers = await asyncio.gather(*asked)
        pairs = {(one.status, two.status) for one, two in zip(answers[::2], answers[1::2], strict=True)}
        assert pairs == {(202, 202), (503, 503)}
        expect_kept(of_services(station), {body["request_id"] for body in await bodies(answers) if "routed_to" in body})


async def test_a_balancer_crashes_with_assumptions_open_and_another_takes_over() -> None:
    """A balancer crash with assumptions open: the one that takes over finds what its sessions became."""
    gate = asyncio.Event()

    async def late(_: web.Request, pass_on: PassOn) -> web.StreamResponse:
        answer = await pass_on()
        await gate.wait()
        return answer

    async with AsyncExitStack() as stack:
        grid = await stack.enter_async_context(a_grid())
        stations = await two_of_which_the_first_is_preferred(grid, late, times=4)
        fellows = await fellows_of(stack, grid, 2)
        evs = [ev_id for ev_id in EVS if fellows.owner(ev_id) == 1][:4]
        asking = [asyncio.ensure_future(fellows.ask(1, ev_id, request_id=f"r-{ev_id}")) for ev_id in evs]
        await until(lambda: stations[0].admission.sessions == 4)
        await fellows.kill(1)
        await prefer_the_second(grid)
        await asyncio.gather(*asking, return_exceptions=True)
        again = await bodies(await asyncio.gather(*(fellows.ask(0, ev_id, request_id=f"r-{ev_id}") for ev_id in evs)))
        assert [body["routed_to"] for body in again] == ["substation1"] * 4
        assert [station.admission.sessions for station in stations] == [4, 0]
        expect_kept(of_services(*stations), [f"r-{ev_id}" for ev_id in evs])
        gate.set()


async def test_what_a_dead_balancer_sent_arrives_after_another_took_over() -> None:
    """A balancer crash with assumptions open: its charge that comes late is refused by the fence, and starts nothing."""
    gate, arrived, came_late = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop().create_future()

    async def underway(_: web.Request, pass_on: PassOn) -> web.StreamResponse:
        arrived.set()
        await gate.wait()
        answer = await pass_on()
        came_late.set_result(answer.status)
        return answer

    async with AsyncExitStack() as stack:
        grid = await stack.enter_async_context(a_grid())
        stations = await two_of_which_the_first_is_preferred(grid, underway, times=1)
        fellows = await fellows_of(stack, grid, 2)
        ev_id = next(ev_id for ev_id in EVS if fellows.owner(ev_id) == 1)
        asking = asyncio.ensure_future(fellows.ask(1, ev_id, request_id="r1"))
        await arrived.wait()
        await fellows.kill(1)
        again = await fellows.ask(0, ev_id, request_id="r1")
        assert again.status == 202
        placed = [station.admission.sessions for station in stations]
        gate.set()
        assert await came_late == 410
        assert [station.admission.sessions for station in stations] == placed
        await asyncio.gather(asking, return_exceptions=True)
        expect_kept(of_services(*stations), ["r1"])


async def test_a_balancer_crashes_with_assumptions_open() -> None:
    """A balancer crash with assumptions open: the next one finds what its sessions became, and places none twice."""
    gate = asyncio.Event()

    async def late(_: web.Request, pass_on: PassOn) -> web.StreamResponse:
        answer = await pass_on()
        await gate.wait()
        return answer

    async with a_grid() as grid:
        stations = await two_of_which_the_first_is_preferred(grid, late, times=4)
        async with a_grid() as first:
            first.urls = grid.urls
            await first.balancer("substation1", "substation2")
            asking = [asyncio.ensure_future(first.route(f"EV{n}", request_id=f"r{n}")) for n in range(4)]
            await until(lambda: stations[0].admission.sessions == 4)
        for each in asking:
            each.cancel()
        await prefer_the_second(grid)
        await grid.balancer("substation1", "substation2")
        again = await bodies([await grid.route(f"EV{number}", request_id=f"r{number}") for number in range(4)])
        assert [body["routed_to"] for body in again] == ["substation1"] * 4
        assert [station.admission.sessions for station in stations] == [4, 0]
        expect_kept(of_services(*stations), [f"r{number}" for number in range(4)])
        gate.set()


# -- load -----------------------------------------------------------------------------------------------------------------
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


# -- a queue of dead clients ----------------------------------------------------------------------------------------------
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
