"""A substation over real HTTP, on a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from config.report import HEADER, Report
from config.settings import SubstationSettings
from services.clock import FakeClock
from services.http import application
from services.substation.service import SubstationService, create
from services.traffic import Traffic

Client = TestClient[Any, Any]


class World:
    """One substation, its clock and a client."""

    def __init__(self, client: Client, clock: FakeClock, service: SubstationService) -> None:
        self.client = client
        self.clock = clock
        self.service = service

    async def charge(self, ev_id: str = "EV1", **fields: Any) -> ClientResponse:
        return await self.client.post("/charge", json={"ev_id": ev_id, **fields})

    async def text(self, path: str) -> str:
        async with self.client.get(path) as answer:
            return await answer.text()

    async def json(self, path: str) -> Any:
        async with self.client.get(path) as answer:
            return await answer.json()


def _report(answer: ClientResponse) -> Report:
    return Report.decode(answer.headers[HEADER])


@asynccontextmanager
async def _substation(time_scale: float = 1.0, **settings: Any) -> AsyncIterator[World]:
    clock = FakeClock(time_scale)
    service = create(SubstationSettings(time_scale=time_scale, **settings), clock, Random(1))
    await service.start()
    async with TestClient(TestServer(application(service, Traffic()))) as client:
        yield World(client, clock, service)
    await service.stop()


async def test_a_session_starts_lasts_and_ends() -> None:
    async with _substation(max_sessions=2) as world:
        answer = await world.charge(request_id="r1")
        assert answer.status == 202
        assert await answer.json() == {
            "response": {"status": "charging started", "vehicle_id": "EV1"},
            "request_id": "r1",
            "routed_to": "substation1",
            "ends_in_s": 30.0,
            "power_kw": 7.4,
        }
        assert "substation_current_load 1.0" in await world.text("/metrics")
        world.clock.jump(30)
        metrics = await world.text("/metrics")
        assert "substation_current_load 0.0" in metrics
        assert 'substation_charging_time_seconds_bucket{le="30.0"} 1.0' in metrics
        assert "substation_energy_delivered_kwh_total 0.0616" in metrics


async def test_full_says_when_there_is_room_in_wall_time() -> None:
    async with _substation(max_sessions=1, time_scale=10) as world:
        await world.charge()
        world.clock.jump(0.5)
        answer = await world.charge("EV2")
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "3"
        body = await answer.json()
        assert (body["reason"], body["retry_after_s"]) == ("substation-full", 2.5)
        assert 'substation_requests_total{outcome="substation-full"} 1.0' in await world.text("/metrics")


async def test_more_power_than_there_will_ever_be_is_no_503() -> None:
    async with _substation(capacity_kw=50) as world:
        answer = await world.charge(power_kw=50.001)
        assert answer.status == 422
        body = await answer.json()
        assert (body["reason"], body["capacity_kw"]) == ("over-capacity", 50)
        assert body["errors"][0]["field"] == "power_kw"


async def test_the_same_id_again_and_the_idempotency_key() -> None:
    async with _substation() as world:
        first = await world.charge(request_id="r1")
        again = await world.client.post("/charge", json={"ev_id": "EV1"}, headers={"Idempotency-Key": "r1"})
        assert await again.json() == await first.json()
        assert _report(again).sessions == 1
        assert (await world.charge("EV2", request_id="r1")).status == 409
        for body, key in (
            ([{"ev_id": "EV1"}], "r2"),
            ({"ev_id": "E", "request_id": "r3"}, "r2"),
            ({"ev_id": "E"}, "/"),
        ):
            bad = await world.client.post("/charge", json=body, headers={"Idempotency-Key": key})
            assert bad.status == 422
            assert (await bad.json())["errors"][0]["field"] == "Idempotency-Key"


async def test_an_array_is_answered_in_order_and_fails_in_parts() -> None:
    async with _substation(max_sessions=1) as world:
        answer = await world.client.post("/charge", json=[{"ev_id": "a"}, {"ev_id": "b"}, {"ev": "c"}])
        assert answer.status == 200
        body = await answer.json()
        assert [each["status_code"] for each in body] == [202, 503, 422]
        assert body[1]["reason"] == "substation-full"
        assert [fault["field"] for fault in body[2]["errors"]] == ["ev_id", "ev"]


async def test_every_answer_carries_a_report() -> None:
    async with _substation(max_sessions=1, capacity_kw=74) as world:
        await world.charge()
        answers = [
            await world.charge(),
            await world.client.put("/charge"),
            await world.client.post("/charge", data=b"{"),
            *[await world.client.get(path) for path in ("/metrics", "/health", "/sessions", "/nothing", "/sessions/x")],
        ]
        assert [answer.status for answer in answers] == [503, 405, 415, 200, 200, 200, 404, 404]
        for answer in answers:
            report = _report(answer)
            assert (report.sessions, report.load_w, report.max_sessions, report.capacity_w) == (1, 7400, 1, 74000)


async def test_health_tells_the_load() -> None:
    async with _substation(max_sessions=4, capacity_kw=10) as world:
        await world.charge()
        await world.charge(power_kw=9)
        health = await world.json("/health")
        assert health.pop("uptime_s") >= 0
        assert health == {
            "status": "ok",
            "name": "substation1",
            "role": "substation",
            "sessions": 1,
            "max_sessions": 4,
            "load_kw": 7.4,
            "capacity_kw": 10.0,
            "load_pct": 74.0,
            "accepted_total": 1,
            "refused_total": 1,
        }


async def test_draining_is_alive_and_takes_nothing() -> None:
    async with _substation() as world:
        await world.charge()
        world.service.command({"do": "drain"})
        world.service.command({"do": "something of tomorrow"})
        answer = await world.charge("EV2")
        assert (answer.status, (await answer.json())["reason"]) == (503, "draining")
        assert answer.headers["Retry-After"] == "5"
        async with world.client.get("/health") as health:
            assert (health.status, (await health.json())["status"]) == (200, "draining")
        world.service.command({"do": "undrain"})
        assert (await world.charge("EV2")).status == 202


async def test_the_record_of_sessions() -> None:
    async with _substation(time_scale=10) as world:
        await world.charge(request_id="r1")
        world.clock.jump(1)
        await world.charge("EV2", request_id="r2", attempt=2, duration_s=50, power_kw=11)
        world.clock.jump(3)
        running = await world.json("/sessions")
        assert running["now_s"] == 1_000_004.0
        assert running["epoch"] == world.service.admission.epoch
        second = {
            "request_id": "r2",
            "ev_id": "EV2",
            "attempt": 2,
            "power_kw": 11.0,
            "started_s": 1_000_001.0,
            "ends_s": 1_000_006.0,
            "ended_s": None,
            "energy_kwh": 0.091667,
            "state": "charging",
            "reason": None,
        }
        assert running["sessions"] == [second]
        everything = await world.json("/sessions?ended=1")
        assert [(each["request_id"], each["ended_s"]) for each in everything["sessions"]] == [
            ("r1", 1_000_003.0),
            ("r2", None),
        ]
        assert (await world.json("/sessions?ended=1&since_s=1000003.5"))["sessions"] == [second]
        assert await world.json("/sessions/r2") == second
        assert (await world.json("/sessions/r1"))["state"] == "ended"


async def test_many_sessions_are_told_in_pages_and_what_is_over_on_the_last() -> None:
    async with _substation(time_scale=10) as world:
        await world.charge("EV0", request_id="over", duration_s=1)
        for each in range(4):
            await world.charge(f"EV{each + 1}", request_id=f"r{each}", duration_s=1000)
        world.clock.jump(1)
        pages, after = list[list[str]](), 0
        while after >= 0:
            page = await world.json(f"/sessions?ended=1&limit=2&after={after}")
            pages.append([each["request_id"] for each in page["sessions"]])
            after = page.get("next", -1)
        assert pages == [["r0", "r1"], ["r2", "r3"], ["over"]]
        assert "next" not in await world.json("/sessions?limit=5")


@pytest.mark.parametrize(
    "query", ["limit=-1", "after=x", "since_s=x", "since_s=nan", "since_s=-1", "ended=maybe", "since_s=1e400"]
)
async def test_a_bad_query_is_named(query: str) -> None:
    async with _substation() as world:
        answer = await world.client.get(f"/sessions?{query}")
        assert answer.status == 422
        assert (await answer.json())["errors"][0]["field"] == query.partition("=")[0]


async def test_revocation() -> None:
    async with _substation() as world:
        await world.charge(request_id="r1", attempt=2)
        delete = world.client.delete
        early = await delete("/sessions/r1?attempt=1")
        assert (await early.json())["state"] == "charging"
        done = await delete("/sessions/r1?attempt=2")
        assert await done.json() == {"request_id": "r1", "ev_id": "EV1", "attempt": 2, "state": "revoked"}
        assert (await world.charge(request_id="r1", attempt=2)).status == 410
        assert (await world.charge(request_id="r1", attempt=3)).status == 202
        assert (await (await delete("/sessions/r1")).json())["state"] == "cancelled"
        assert (await world.charge(request_id="r1", attempt=4)).status == 410
        unknown = await delete("/sessions/r9?attempt=1")
        assert await unknown.json() == {"request_id": "r9", "state": "unknown"}
        assert (await world.charge(request_id="r9")).status == 410
        assert (await delete("/sessions/r8")).status == 404
        assert (await delete("/sessions/..%2Fx?attempt=1")).status == 404


async def test_a_timer_ends_sessions_that_nobody_asks_about() -> None:
    async with _substation(time_scale=1) as world:
        await world.charge(request_id="r1", duration_s=0.001)
        session = world.service.admission.find("r1")
        assert session is not None
        world.clock.jump(1)
        while session.state == "charging":
            await world.client.get("/nothing-that-looks-at-sessions/../favicon.ico", allow_redirects=False)
        assert session.ended_s == 0.001


async def test_answers_of_one_moment_share_a_report_and_none_is_told_an_old_one() -> None:
    async with _substation(time_scale=10.0, max_sessions=2) as world:
        first = _report(await world.charge("EV1", request_id="r1"))
        world.clock.jump(0.0009)
        assert _report(await world.client.get("/sessions")) == first
        world.clock.jump(0.0002)
        later = _report(await world.client.get("/sessions"))
        assert later.seq == first.seq
        assert later.ends[0].in_s == pytest.approx(first.ends[0].in_s - 0.011)
        assert _report(await world.charge("EV2", duration_s=100)).sessions == 2
        world.service.command({"do": "drain"})
        assert _report(await world.client.get("/sessions")).draining
        world.clock.jump_grid(later.ends[0].in_s - 0.001)
        assert _report(await world.client.get("/sessions")).sessions == 2
        world.clock.jump_grid(0.001)
        assert _report(await world.client.get("/sessions")).sessions == 1
