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


async def test_one_that_cannot_read_its_journal_says_so_at_once(tmp_path: Path) -> None:
    (tmp_path / "b.db").write_bytes(b"no database" * 1_000)
    async with a_grid() as grid:
        await grid.substation("s1")
        balancer = await grid.balancer("s1", ready=False, journal=str(tmp_path / "b.db"), request_timeout_s=60.0)
        await until(lambda: balancer.health().status == "degraded")
        async with asyncio.timeout(30):
            placed = await (await grid.route("EV1")).json(content_type=None)
            asked = await (await grid.client.get(f"{grid.urls['balancer']}/requests/r1")).json(content_type=None)
        for told in (placed, asked):
            assert (told["status"], told["reason"]) == (503, "journal-corrupt")
            assert "put a copy back or move it away, then restart" in told["detail"]
