"""What `/metrics` of real services shows, and that no client can make it grow."""

from __future__ import annotations

from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from config.problems import Problem
from config.settings import ChargeRequestSettings
from monitoring import metrics
from services.balancer.line import Result
from services.charge_request.service import ChargeRequestService
from services.clock import SystemClock
from services.problem import problem_response
from tests.services.grid import Grid, a_grid

#: Every label and the values that it may have in a grid of substation1.
ALLOWED = {
    "substation_id": {"substation1"},
    "outcome": {*metrics.BALANCER_OUTCOMES, *metrics.SUBSTATION_OUTCOMES},
    "result": {*metrics.ATTEMPT_RESULTS},
    "status": {*metrics.STATUSES},
    "reason": {*metrics.FAILURES, *metrics.DROP_REASONS},
}
FREE = {"le", "version"}
JUNK = "x" * 40


async def _throw_junk(grid: Grid, url: str, path: str) -> None:
    """Every way in which a client may write something of its own choice."""
    good = {"Content-Type": "application/json"}
    for number in range(5):
        own = f"{JUNK}{number}"
        bodies: list[object] = [
            {"ev_id": own},
            [{"ev_id": own}],
            {"ev_id": "a", own: 1},
            [own],
            {"ev_id": "a", "request_id": own},
        ]
        for body in bodies:
            await grid.client.post(url + path, json=body, headers={"X-" + own: own, "Idempotency-Key": own})
        await grid.client.post(url + path, data=own, headers=good)
        await grid.client.post(url + path, data=own, headers={"Content-Type": f"text/{own}"})
        await grid.client.request(f"M{number}", url + path)
        await grid.client.get(f"{url}/{own}?{own}={own}")
        await grid.client.delete(f"{url}/requests/{own}")
        await grid.client.delete(f"{url}/sessions/{own}")


async def test_no_client_makes_a_label_value() -> None:
    async with a_grid() as grid:
        await grid.substation("substation1", max_sessions=3)
        await grid.balancer("substation1")
        settings = ChargeRequestSettings(balancers=(grid.urls["balancer"],))
        await grid.serve(ChargeRequestService(settings, SystemClock()))
        for name, path in (("charge-request", "/charge"), ("balancer", "/route"), ("substation1", "/charge")):
            await _throw_junk(grid, grid.urls[name], path)
            await _throw_junk(grid, grid.urls[name], "/reports")
        for name in grid.urls:
            for family in text_string_to_metric_families(await grid.get(name, "/metrics")):
                for sample in family.samples:
                    for label, value in sample.labels.items():
                        assert label in FREE or value in ALLOWED[label], f"{name}: {sample}"


async def test_a_request_for_which_there_is_no_room_is_no_failure_and_all_else_is() -> None:
    async with a_grid() as grid:
        words = ("grid-full", "queue-full", "recovering", "journal-newer", "something-new")
        reasons = iter(words)

        async def refuse(_: web.Request) -> web.StreamResponse:
            return problem_response(Problem(503, "no", next(reasons)))

        app = web.Application()
        app.router.add_post("/route", refuse)
        settings = ChargeRequestSettings(balancers=(await grid.serve_app("fake", app),))
        await grid.serve(ChargeRequestService(settings, SystemClock()))
        for _ in words:
            assert (await grid.post("charge-request", "/charge", {"ev_id": "EV1"})).status == 503
        page = await grid.get("charge-request", "/metrics")
        failures = {line for line in page.splitlines() if line.startswith("charge_request_failures_total")}
        assert {line for line in failures if not line.endswith(" 0.0")} == {
            'charge_request_failures_total{reason="recovering"} 1.0',
            'charge_request_failures_total{reason="journal"} 1.0',
            'charge_request_failures_total{reason="other"} 1.0',
        }
        assert len(failures) == len(metrics.FAILURES), "the others are there, at 0"


def test_every_result_of_an_attempt_is_there_from_the_start() -> None:
    assert {result.value for result in Result} == {*metrics.ATTEMPT_RESULTS}
