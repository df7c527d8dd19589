"""A real balancer over real substations, on real sockets in one event loop."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from tests.services.grid import a_grid


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


async def test_a_burst_fills_every_slot_and_no_more() -> None:
    async with a_grid() as grid:
        stations = [await grid.substation(f"substation{number}") for number in (1, 2, 3)]
        await grid.balancer("substation1", "substation2", "substation3")
        answers = await asyncio.gather(*(grid.route(f"EV{number}") for number in range(50)))
        statuses = Counter(answer.status for answer in answers)
        assert statuses == {202: 30, 503: 20}
        assert [station.admission.sessions for station in stations] == [10, 10, 10]
        refused = next(answer for answer in answers if answer.status == 503)
        problem = await refused.json()
        assert problem["reason"] == "grid-full"
        assert 28 < problem["retry_after_s"] <= 30
        assert problem["earliest_end_in_s"] <= 30
        assert time.time() - 10 < problem["arrived_s"] <= problem["refused_s"] <= time.time()
        assert refused.headers["Retry-After"] in {"29", "30"}
        health = await grid.get("balancer", "/health")
        assert (health["accepted_total"], health["refused_total"], health["failed_total"]) == (30, 20, 0)
