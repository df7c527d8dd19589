"""A substation that ends, however it ends, and starts again from its journal: over real HTTP, on a clock that jumps."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from config.report import HEADER, Report
from config.settings import SubstationSettings
from services.clock import FakeClock
from services.http import application
from services.journalfile import JournalFile
from services.substation.journal import SCHEMA, read
from services.substation.service import SubstationService
from services.traffic import Traffic
from tests.services.disk import fill, small_disk
from tests.services.grid import until
from tests.services.test_journal import damaged, newer

BEGIN_UNIX_S = 1_000_000.0


class World:
    """One run of a substation, its clock and a client."""

    def __init__(self, client: TestClient[Any, Any], clock: FakeClock, service: SubstationService) -> None:
        self.client = client
        self.clock = clock
        self.service = service

    async def charge(self, ev_id: str = "EV1", **fields: Any) -> ClientResponse:
        return await self.client.post("/charge", json={"ev_id": ev_id, **fields})

    async def sessions(self, query: str = "?ended=1") -> dict[str, dict[str, Any]]:
        async with self.client.get(f"/sessions{query}") as answer:
            return {each["request_id"]: each for each in (await answer.json())["sessions"]}

    async def health(self) -> tuple[int, dict[str, Any]]:
        async with self.client.get("/health") as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def substation(
    path: Path, at_s: float = 0.0, time_scale: float = 1.0, seed: int = 1, **settings: Any
) -> AsyncIterator[World]:
    """A run that begins `at_s` wall seconds after the first one could have."""
    clock = FakeClock(time_scale, BEGIN_UNIX_S + at_s)
    wanted = SubstationSettings(**{"time_scale": time_scale, "journal": str(path), "max_sessions": 3, **settings})
    service = SubstationService(wanted, clock, Random(seed))
    await service.start()
    async with TestClient(TestServer(application(service, Traffic()))) as client:
        yield World(client, clock, service)
    await service.stop()


def as_killed(path: Path) -> Path:
    """A copy of what is on disk now: what a process finds that follows one killed at this instant."""
    copy = path.parent / f"{path.stem}-again.db"
    for part in ("", "-wal"):
        if Path(f"{path}{part}").exists():
            shutil.copy(f"{path}{part}", f"{copy}{part}")
    return copy


@pytest.mark.parametrize("durability", ["fsync", "process"])
async def test_a_killed_substation_resumes_what_was_answered(tmp_path: Path, durability: str) -> None:
    path = tmp_path / "s.db"
    async with substation(path, durability=durability) as before:
        first = await before.charge(request_id="r1", duration_s=100, power_kw=36)
        assert first.status == 202
        assert (await before.charge("EV2", request_id="r2", duration_s=20)).status == 202
        before.clock.jump(10)
        copy = as_killed(path)
        async with substation(copy, at_s=40, durability=durability, seed=2) as after:
            sessions = await after.sessions()
            charging, ended = sessions["r1"], sessions["r2"]
            assert (charging["state"], charging["started_s"], charging["ends_s"]) == ("charging", 1_000_000, 1_000_100)
            assert charging["energy_kwh"] == 0.4
            assert (ended["state"], ended["ended_s"]) == ("ended", 1_000_020.0)
            again = await after.charge(request_id="r1")
            assert (again.status, (await again.json())["ends_in_s"]) == (202, 60.0)
            assert (await after.charge("EV2", request_id="r2")).status == 202
            assert (await after.charge("another", request_id="r2")).status == 409
            report = Report.decode(again.headers[HEADER])
            assert report.sessions == 1
            assert report.epoch != before.service.admission.epoch
        assert {each.request_id: each.state for each in read(copy).sessions} == {"r1": "charging", "r2": "ended"}
    assert [record.admitting for record in read(path).limits] == [True, False]


async def test_limits_hold_over_what_was_resumed_and_numbers_go_on(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with substation(path) as before:
        for number in range(3):
            assert (await before.charge(f"EV{number}", request_id=f"r{number}")).status == 202
    async with substation(path, at_s=1, max_sessions=2) as after:
        full = await after.charge("EV9", request_id="r9")
        assert (full.status, (await full.json())["retry_after_s"]) == (503, 29.0)
        assert Report.decode(full.headers[HEADER]).sessions == 3
        after.clock.jump(30)
        assert (await after.charge("EV9", request_id="r9")).status == 202
    assert [record.number for record in read(path).sessions] == [1, 2, 3, 4]


async def test_the_clock_goes_on_while_nobody_is_there_at_the_scale_of_that_time(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with substation(path, time_scale=10) as before:
        await before.charge(request_id="r1", duration_s=1000)
        before.clock.jump(10)
    async with substation(path, at_s=20, time_scale=1) as after:
        async with after.client.post("/charge", json={"ev_id": "EV1", "request_id": "r1"}) as again:
            assert (await again.json())["ends_in_s"] == 800.0
        sessions = await after.sessions()
        assert (sessions["r1"]["started_s"], sessions["r1"]["ends_s"]) == (1_000_000.0, 1_000_820.0)
        after.clock.jump(800)
        assert (await after.sessions())["r1"]["ended_s"] == 1_000_820.0


@pytest.mark.parametrize("at_s", [-5000.0, 0.0])
async def test_a_system_clock_that_was_set_back_does_not_turn_grid_time_back(tmp_path: Path, at_s: float) -> None:
    path = tmp_path / "s.db"
    async with substation(path) as before:
        before.clock.jump(100)
        await before.charge(request_id="r1", duration_s=50)
    async with substation(path, at_s=at_s) as after, after.client.get("/sessions/r1") as answer:
        record = await answer.json()
        assert record["state"] == "charging"
        assert record["ends_s"] - (BEGIN_UNIX_S + at_s) == 50.0


async def test_revocations_cancellations_and_drops_survive(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with substation(path) as before:
        for number, attempt in ((1, 2), (2, 1), (3, 1)):
            await before.charge(f"EV{number}", request_id=f"r{number}", attempt=attempt)
        await before.charge("EV1", request_id="r1", attempt=3)
        before.clock.jump(5)
        await before.client.delete("/sessions/r1?attempt=2")
        await before.client.delete("/sessions/r2")
        await before.client.delete("/sessions/r9?attempt=4")
        before.service.command({"do": "drop", "reason": "drain-timeout"})
        sessions = await before.sessions()
        assert sessions["r3"]["reason"] == "drain-timeout"
    async with substation(path, at_s=10) as after:
        found = {
            key: (each["state"], each["reason"], each["attempt"]) for key, each in (await after.sessions()).items()
        }
        assert found == {
            "r1": ("dropped", "drain-timeout", 3),
            "r2": ("cancelled", "cancelled", 1),
            "r3": ("dropped", "drain-timeout", 1),
        }
        assert (await after.charge("EV2", request_id="r2", attempt=9)).status == 410
        assert (await after.charge("EV9", request_id="r9", attempt=4)).status == 410
        assert (await after.charge("EV9", request_id="r9", attempt=5)).status == 202


async def test_one_array_may_name_a_request_twice_and_hold_sessions_that_end_at_once(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with substation(path) as world:
        world.clock.jump(5)
        body = [
            {"ev_id": "a", "request_id": "r1", "energy_kwh": 1e-300},
            {"ev_id": "b", "request_id": "r2"},
            {"ev_id": "b", "request_id": "r2", "attempt": 2},
            {"ev": "c"},
        ]
        async with world.client.post("/charge", json=body) as answer:
            assert [each["status_code"] for each in await answer.json()] == [202, 202, 202, 422]
    assert [(row.request_id, row.attempt, row.state) for row in read(path).sessions] == [
        ("r1", 1, "ended"),
        ("r2", 2, "charging"),
    ]


async def test_old_sessions_are_deleted_beyond_what_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with substation(path, max_sessions=10_000) as world:
        for _ in range(3):
            charges = [{"ev_id": "EV", "duration_s": 1} for _ in range(1000)]
            async with world.client.post("/charge", json=charges) as answer:
                assert answer.status == 200
            world.clock.jump(2)
            await world.sessions("")
        for session in list(world.service.admission.ended())[1000:]:
            world.service._keeper.forgotten(session)
    assert len(read(path).sessions) == 1000


async def test_a_full_disk_refuses_new_sessions_keeps_what_runs_and_goes_on_by_itself(tmp_path: Path) -> None:
    with small_disk(tmp_path, kilobytes=300) as disk:
        if disk is None:
            return  # nobody may mount one here; tests/services/test_journal.py shows the same with a page limit
        path = disk / "s.db"
        async with substation(path, max_sessions=10_000) as world:
            assert (await world.charge(request_id="r0")).status == 202
            fill(disk / "ballast")
            refused = await _until_refused(world)
            body = await refused.json()
            assert (refused.status, body["reason"], body["journal"]) == (503, "journal-unavailable", "journal-full")
            assert "free some space" in body["detail"]
            assert refused.headers["Retry-After"] == "1"
            assert Report.decode(refused.headers[HEADER]).draining
            status, health = await world.health()
            assert (status, health["status"], health["reason"]) == (503, "degraded", "journal-full")
            answered = set(await world.sessions())
            assert health["sessions"] == len(answered)
            assert (await world.charge(request_id="r0")).status == 202
            world.clock.jump(31)
            assert {each["state"] for each in (await world.sessions()).values()} == {"ended"}
            (disk / "ballast").unlink()
            await until(lambda: not world.service.admission.closed)
            assert (await world.health())[0] == 200
            assert (await world.charge("new", request_id="new")).status == 202
        assert {row.request_id for row in read(path).sessions} == answered | {"new"}
        assert {row.state for row in read(path).sessions if row.request_id != "new"} == {"ended"}


async def _until_refused(world: World) -> ClientResponse:
    for number in range(1, 100):
        charges = [{"ev_id": "x" * 100, "request_id": f"r{number}-{index}"} for index in range(20)]
        async with world.client.post("/charge", json=charges) as answer:
            if (await answer.json())[0]["status_code"] != 202:
                return await world.charge("one more")
    raise AssertionError("the disk never became full")


@pytest.mark.parametrize(("spoil", "reason"), [(damaged, "journal-corrupt"), (newer, "journal-newer")])
async def test_a_journal_that_cannot_be_read_is_said_and_left_alone(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "s.db"
    async with substation(path) as before:
        for number in range(3):
            await before.charge(f"EV{number}" + "x" * 100, request_id=f"r{number}")
    spoil(path)
    content = path.read_bytes()
    async with substation(path) as after:
        for ask in (
            after.charge,
            lambda: after.client.get("/sessions"),
            lambda: after.client.get("/sessions/r1"),
            lambda: after.client.delete("/sessions/r1?attempt=1"),
        ):
            answer = await ask()
            body = await answer.json()
            assert (answer.status, body["reason"], body["journal"]) == (503, "journal-unavailable", reason)
            assert HEADER not in answer.headers
            assert str(path) in body["detail"]
        status, health = await after.health()
        assert (status, health["status"], health["reason"]) == (503, "degraded", reason)
        assert (await after.client.get("/metrics")).status == 503
    assert path.read_bytes() == content


async def test_until_it_has_read_its_journal_a_substation_says_nothing_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with substation(path) as before:
        await before.charge(request_id="r1")
    other = JournalFile(path, SCHEMA)
    other.connection()  # the process before has not ended yet
    async with substation(path, at_s=3) as after:
        assert (await after.health())[1]["status"] == "starting"
        for answer in (await after.charge(), await after.client.get("/metrics"), await after.client.get("/sessions")):
            assert answer.status == 503
            assert HEADER not in answer.headers
        after.clock.jump(10)
        assert (await after.health())[1]["reason"] == "journal-busy"
        other.close()
        await until(lambda: after.service.headers() != {})
        assert (await after.sessions())["r1"]["state"] == "charging"


async def test_without_hard_limit_all_is_taken(tmp_path: Path) -> None:
    async with substation(tmp_path / "s.db", max_sessions=1, capacity_kw=7.4, hard_limit=False) as world:
        for number in range(5):
            assert (await world.charge(f"EV{number}", power_kw=11)).status == 202
        _, health = await world.health()
        assert (health["sessions"], health["load_pct"]) == (5, 743.243)
    assert not read(tmp_path / "s.db").limits[0].hard_limit


async def test_derating_limits_what_is_admitted_and_cuts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with substation(path, max_sessions=10, capacity_kw=74) as world:
        for number in range(6):
            await world.charge(f"EV{number}", duration_s=30 + number, power_kw=7)
        world.service.command({"do": "derate", "capacity_kw": 20, "max_sessions": 99})
        refused = await world.charge("EV9", power_kw=7)
        assert (refused.status, (await refused.json())["retry_after_s"]) == (503, 34.0)
        report = Report.decode(refused.headers[HEADER])
        assert (report.sessions, report.max_sessions, report.capacity_w) == (6, 10, 20_000)
        never_now = await world.charge("EV9", power_kw=22)
        assert (never_now.status, (told := await never_now.json())["reason"]) == (503, "substation-full")
        assert "retry_after_s" not in told  # nobody knows when
        assert never_now.headers["Retry-After"] == "5"
        assert (await world.charge("EV9", power_kw=75)).status == 422
        world.service.command({"do": "derate"})
        assert (await world.charge("EV9", power_kw=22)).status == 202
    assert [(record.max_sessions, record.capacity_w) for record in read(path).limits] == [
        (10, 74_000),
        (10, 20_000),
        (10, 74_000),
        (10, 74_000),
    ]


async def test_concurrent_charges_of_one_id_wait_for_the_one_commit(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with substation(path) as world:
        answers = await asyncio.gather(*(world.charge(request_id="r1") for _ in range(20)))
        assert {answer.status for answer in answers} == {202}
    assert len(read(path).sessions) == 1
