"""A real balancer over real substations, on real sockets in one event loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.services.grid import a_grid, until


async def test_a_session_is_placed_and_seen() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1")
        await grid.balancer("substation1")
        answer = await grid.route("EV1", request_id="r1")
        assert answer.status == 202
        body = await answer.json()
        assert 29 < body.pop("ends_in_s") <= 30
        assert body == {
            "response": {"status": "charging started", "vehicle_id": "EV1"},
            "routed_to": "substation1",
            "request_id": "r1",
        }
        status = await grid.get("balancer", "/status")
        assert status["grid_loading_pct"] == 10
        (row,) = status["substations"]
        assert (row["sessions"], row["pending"], row["state"], row["load_kw"]) == (1, 0, "fresh", 7.4)
        page = await grid.get("balancer", "/metrics")
        assert 'substation_load_percentage{substation_id="substation1"} 10.0' in page
        assert 'balancer_requests_total{outcome="accepted"} 1.0' in page


async def test_who_asks_it_directly_is_told_the_id_of_what_is_refused() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1", max_sessions=1)
        await grid.balancer("substation1")
        await grid.route("EV1", request_id="r1")
        full = await (await grid.route("EV2")).json()
        found = await grid.get("balancer", f"/decisions?request_id={full['request_id']}")
        assert [each["outcome"]["status"] for each in found["decisions"]] == [503]
        taken = await (await grid.route("EV2", request_id="r1")).json()
        assert (taken["reason"], taken["request_id"]) == ("request-id-taken", "r1")
        elements = await (await grid.post("balancer", "/route", [{"ev_id": "EV1"}, {"ev": 2}])).json()
        assert ["request_id" in element for element in elements] == [True, False]


async def test_one_that_cannot_read_its_journal_says_so_at_once(tmp_path: Path) -> None:
    (tmp_path / "b.db").write_bytes(b"no database" * 1_000)
    async with a_grid() as grid:
        await grid.substation("s1")
        balancer = await grid.balancer("s1", ready=False, journal=str(tmp_path / "b.db"), request_timeout_s=60.0)
        await until(lambda: balancer.health().status == "degraded")
        async with asyncio.timeout(30):
            placed = await (await grid.route("EV1")).json(content_type=None)
            asked = await (await grid.client.get(f"{grid.urls['balancer']}/requests/r1")).json(content_type=None)
        assert len(placed["request_id"]) == 32
        for told in (placed, asked):
            assert (told["status"], told["reason"]) == (503, "journal-corrupt")
            assert "put a copy back or move it away, then restart" in told["detail"]
