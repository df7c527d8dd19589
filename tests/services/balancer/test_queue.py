"""The queue: who is served next, what clients are told of it, and that nobody is lost whatever restarts."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import repeat
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from config.messages import ChargeRequest
from services.balancer.book import Entry
from services.balancer.journal import read
from services.balancer.queue import Left, Queue, Waiting
from services.balancer.service import BalancerService
from tests.services.balancer.world import Desk, World
from tests.services.grid import Grid, a_grid, until

POWER_W = 7_400
#: Once a request has its place; one that charges for a moment only may have ended before anybody looks.
PLACED = ("charging", "ended")


def waiting(number: int, until_at_s: float) -> Waiting:
    request = ChargeRequest(ev_id=f"EV{number}", request_id=f"r{number}")
    return Waiting(request, f"r{number}", number, 0.0, until_at_s, POWER_W, 1)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30))
def test_the_earliest_departure_is_first_then_arrival(arrivals: list[tuple[int, bool]]) -> None:
    queue, stay = Queue(100), []
    for number, (until_at_s, leaves) in enumerate(arrivals, start=1):
        one = waiting(number, float(until_at_s))
        queue.add(one)
        if leaves:
            queue.remove(one)
            assert queue.find(one.request_id) is None
            assert queue.of_ev(one.ev_id) is None
        else:
            stay.append(one)
    expected = sorted(stay, key=lambda one: (one.until_at_s, one.number))
    assert list(queue) == expected
    assert [queue.position(one) for one in expected] == list(range(1, len(expected) + 1))
    assert queue.first() is (expected[0] if expected else None)
    assert all(queue.find(one.request_id) is one and queue.of_ev(one.ev_id) is one for one in expected)


def test_what_left_is_remembered_up_to_a_bound() -> None:
    queue = Queue(10, most_remembered=2)
    for number in range(3):
        queue.remember(f"r{number}", Left("EV", "dropped", "departed"))
    assert queue.left("r0") is None
    assert queue.left("r2") == Left("EV", "dropped", "departed")


async def _balancer(grid: Grid, *names: str, **settings: Any) -> BalancerService:
    return await grid.balancer(*names, admission="queue", **settings)


async def _follow(grid: Grid, request_id: str) -> dict[str, Any]:
    found: dict[str, Any] = await grid.get("balancer", f"/requests/{request_id}")
    return found


async def _state(grid: Grid, request_id: str) -> str:
    return str((await _follow(grid, request_id))["state"])


async def _becomes(grid: Grid, request_id: str, *states: str, within_s: float = 30.0) -> dict[str, Any]:
    """Follows a request until it is in one of `states`; of one that does not last, what comes after it must be one too."""
    end_s = asyncio.get_running_loop().time() + within_s
    while (found := await _follow(grid, request_id))["state"] not in states:
        assert asyncio.get_running_loop().time() < end_s, found
        await asyncio.sleep(0.005)
    return found


async def test_who_finds_no_room_waits_and_is_served_in_order() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1", max_sessions=1)
        await _balancer(grid, "substation1")
        assert (await grid.route("EV1", request_id="r1", duration_s=60)).status == 202
        answers = [
            await grid.route("EV2", request_id="r2", duration_s=0.1),
            await grid.route("EV3", request_id="r3", duration_s=0.1, departure_in_s=20),
            await grid.route("EV4", request_id="r4", duration_s=0.1, departure_in_s=10),
        ]
        bodies = [await answer.json() for answer in answers]
        assert [answer.status for answer in answers] == [202, 202, 202]
        assert [body["response"]["status"] for body in bodies] == ["queued"] * 3
        assert [body["position"] for body in bodies] == [1, 1, 1], "each departs before those that wait"
        assert 0 < bodies[0]["eta_s"] <= 60
        again = await (await grid.route("EV2", request_id="r2")).json()
        assert (again["response"]["status"], again["position"]) == ("queued", 3)
        assert (await _follow(grid, "r3"))["position"] == 2
        async with grid.client.delete(grid.urls["balancer"] + "/requests/r1"):
            pass
        for request_id in ("r4", "r3", "r2"):
            found = await _becomes(grid, request_id, *PLACED)
            assert found["routed_to"] == "substation1"
        await _becomes(grid, "r2", "ended")
        page = await grid.get("balancer", "/metrics")
        assert "balancer_queue_wait_seconds_count 3.0" in page
        assert 'balancer_requests_total{outcome="queued"} 4.0' in page


async def test_the_same_ev_twice_and_too_many_are_refused() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1", max_sessions=1)
        await _balancer(grid, "substation1", queue_limit=1)
        for number in (1, 2):
            await grid.route(f"EV{number}", request_id=f"r{number}")
        twice = await grid.route("EV2", request_id="r3")
        assert (twice.status, (await twice.json())["queued_request_id"]) == (409, "r2")
        taken = await grid.route("EV3", request_id="r2")
        assert (taken.status, (await taken.json())["reason"]) == (409, "request-id-taken")
        many = await grid.route("EV3", request_id="r3")
        assert (many.status, (await many.json())["reason"]) == (503, "queue-full")
        assert (await grid.get("balancer", "/health"))["refused_total"] == 1


async def test_past_its_departure_a_request_is_dropped_with_its_reason() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1", max_sessions=1)
        await _balancer(grid, "substation1", max_wait_s=0.2)
        await grid.route("EV1", request_id="r1")
        await grid.route("EV2", request_id="r2", departure_in_s=0.1)
        await grid.route("EV3", request_id="r3")
        assert (await _becomes(grid, "r2", "dropped"))["reason"] == "departed"
        assert (await _becomes(grid, "r3", "dropped"))["reason"] == "max-wait"
        again = await grid.route("EV2", request_id="r2")
        assert (again.status, (await again.json())["reason"]) == (409, "request-over")
        page = await grid.get("balancer", "/metrics")
        assert 'balancer_queue_drops_total{reason="departed"} 1.0' in page
        assert "balancer_queue_length 0.0" in page


async def test_cancelling_one_that_waits_and_one_that_charges_lets_the_next_in() -> None:
    async with a_grid() as grid:
        station = await grid.substation("substation1", max_sessions=1)
        await _balancer(grid, "substation1")
        for number in (1, 2, 3):
            await grid.route(f"EV{number}", request_id=f"r{number}")
        url = grid.urls["balancer"]
        async with grid.client.delete(f"{url}/requests/r2") as answer:
            assert (answer.status, (await answer.json())["state"]) == (200, "cancelled")
        async with grid.client.delete(f"{url}/requests/r1") as answer:
            assert (answer.status, (await answer.json())["state"]) == (200, "cancelled")
        await _becomes(grid, "r3", "charging", within_s=1.0)
        assert station.admission.sessions == 1
        assert await _state(grid, "r1") == await _state(grid, "r2") == "cancelled"
        for request_id in ("r1", "r2"):
            again = await grid.route("EV" + request_id[1], request_id=request_id)
            assert (again.status, (await again.json())["reason"]) == (409, "request-over")
        async with grid.client.delete(f"{url}/requests/r2") as answer:
            assert answer.status == 200, "again is no harm"
        for method in ("GET", "DELETE"):
            async with grid.client.request(method, f"{url}/requests/r9") as answer:
                assert (answer.status, (await answer.json())["reason"]) == (404, "unknown-request")


async def test_a_filled_queue_is_served_after_a_restart(tmp_path: Path) -> None:
    journal = str(tmp_path / "balancer.db")
    async with a_grid() as grid:
        station = await grid.substation("substation1", max_sessions=1)
        async with a_grid() as first:
            first.urls = grid.urls
            await _balancer(first, "substation1", journal=journal)
            for number in range(1, 6):
                answer = await first.route(
                    f"EV{number}", request_id=f"r{number}", duration_s=60 if number == 1 else 0.1
                )
                assert answer.status == 202
            async with first.client.delete(first.urls["balancer"] + "/requests/r3"):
                pass
        assert {row.request_id: row.state for row in read(Path(journal)).queue} == {
            "r2": "queued",
            "r3": "cancelled",
            "r4": "queued",
            "r5": "queued",
        }
        await grid.balancer("substation1", journal=journal)  # what was promised is kept, whatever is admitted now
        assert (await (await grid.route("EV4", request_id="r4")).json())["position"] == 2
        assert await _state(grid, "r3") == "cancelled"
        async with grid.client.delete(grid.urls["balancer"] + "/requests/r1"):
            pass
        for request_id in ("r2", "r4", "r5"):
            await _becomes(grid, request_id, "ended")
        assert station.admission.sessions == 0
        ended = (await grid.get("substation1", "/sessions?ended=1"))["sessions"]
        assert [record["request_id"] for record in ended] == ["r1", "r2", "r4", "r5"]


async def test_one_that_was_placed_just_before_a_crash_is_not_placed_again(tmp_path: Path) -> None:
    journal = str(tmp_path / "balancer.db")
    async with a_grid() as grid:
        stations = [await grid.substation(f"substation{number}", max_sessions=1) for number in (1, 2)]
        async with a_grid() as first:
            first.urls = grid.urls
            await _balancer(first, "substation1", "substation2", journal=journal)
            for number in (1, 2, 3):
                await first.route(f"EV{number}", request_id=f"r{number}")
        await grid.client.delete(
            grid.urls["substation1"] + f"/sessions/{next(stations[0].admission.running()).request_id}"
        )
        await grid.post("substation1", "/charge", {"ev_id": "EV3", "request_id": "r3"})  # the crash hid the answer
        await _balancer(grid, "substation1", "substation2", journal=journal)
        assert (await _follow(grid, "r3"))["routed_to"] == "substation1"
        assert [station.admission.sessions for station in stations] == [1, 1]
        await until(lambda: read(Path(journal)).queue[0].state == "placed")


async def test_one_that_gets_its_place_while_others_are_looked_at_is_not_placed_again() -> None:
    world = World([10, 10], repeat("ok"))
    desk = Desk(world, "ledger", 1, admission="queue")
    for departures in ([60.0], [50.0] * 6):  # the first is being placed already while those before it are looked at
        for departure_s in departures:
            name = f"r{len(desk.queue)}"
            request = ChargeRequest(ev_id=name, request_id=name, departure_in_s=departure_s)
            assert isinstance(await desk.attendant.take(request, 0.0), Waiting)
        await desk.attendant.look()
    await until(lambda: not len(desk.queue))
    assert world.running() == Counter(f"r{number}" for number in range(7))


async def test_small_ones_pass_a_large_one_where_it_does_not_wait() -> None:
    async with a_grid() as grid:
        for name, sooner in (("substation1", 50), ("substation2", 60)):
            await grid.substation(name, capacity_kw=22)
            await grid.post(name, "/charge", {"ev_id": name, "request_id": name, "power_kw": 11, "duration_s": sooner})
        await _balancer(grid, "substation1", "substation2", poll_interval_s=0.05)
        large = await grid.route("large", request_id="large", power_kw=22, duration_s=0.3)
        assert (await large.json())["position"] == 1
        small = [await (await grid.route(f"EV{n}", request_id=f"r{n}", power_kw=11)).json() for n in (1, 2)]
        assert small[0]["routed_to"] == "substation2", "the other is kept for the large one"
        assert small[1]["position"] == 2
        async with grid.client.delete(grid.urls["substation1"] + "/sessions/substation1"):
            pass
        assert (await _becomes(grid, "large", *PLACED))["routed_to"] == "substation1"
        await _becomes(grid, "r2", *PLACED)


async def test_an_attempt_that_was_given_up_is_no_place_for_who_waits() -> None:
    """It is found at its substation before it hears that its end was ordered; who waits must not leave the queue for it."""
    desk = Desk(World([1], repeat("ok")), "ledger", 0, admission="queue")
    request = ChargeRequest(ev_id="EV1", request_id="r1")
    await desk.attendant.take(request, 0.0)
    desk.placer.book.given_up("r1", 1)
    desk.dispatch.collected("s0", 1, [Entry("r1", "EV1", "s0", 1, 1e9, 1)])
    assert desk.queue.find("r1") is not None
    assert len(desk.revocations) == 1
    await desk.revocations.stop()
    desk.dispatch.collected("s0", 1, [Entry("r1", "EV1", "s0", 2, 1e9, 1)])
    assert desk.queue.find("r1") is None
