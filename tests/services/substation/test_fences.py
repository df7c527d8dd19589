"""A balancer that counts as dead starts nothing, nor does what is left of one that restarted."""

from __future__ import annotations

from typing import Any

import pytest

from services.substation.fences import MOST, Fences
from tests.services.grid import a_grid

URL = "http://127.0.0.1:8081"


def headers(incarnation: object, url: str = URL) -> dict[str, str]:
    """What a balancer sends."""
    return {"Grid-Balancer": url, "Grid-Incarnation": str(incarnation)}


def test_a_fenced_incarnation_is_refused_and_the_next_is_not() -> None:
    fences = Fences()
    fences.fence(URL, 7)
    refused = fences.refusal(headers(7))
    assert refused is not None
    assert (refused.status, refused.reason, refused.extra["incarnation"]) == (410, "fenced", 7)
    assert fences.refusal(headers(8)) is None
    assert fences.refusal(headers(1, "http://127.0.0.1:8082")) is None, "another balancer"


def test_a_newer_incarnation_fences_the_older_one() -> None:
    fences = Fences()
    fences.heard(headers(5))
    assert fences.refusal(headers(5)) is None
    fences.heard(headers(6))
    assert fences.refusal(headers(5)) is not None
    fences.heard(headers(4))
    assert fences.refusal(headers(5)) is not None, "an older one changes nothing"


@pytest.mark.parametrize("incarnation", ["", "-1", "x", "²", "1" * 19])
def test_who_does_not_say_who_it_is_may_ask(incarnation: str) -> None:
    fences = Fences()
    fences.fence(URL, 7)
    fences.heard(headers(incarnation))
    assert fences.refusal(headers(incarnation)) is None
    assert fences.refusal({}) is None


def test_only_so_many_balancers_are_remembered() -> None:
    fences = Fences()
    for port in range(MOST + 1):
        fences.fence(f"http://127.0.0.1:{port}", 7)
    assert fences.refusal(headers(7, "http://127.0.0.1:0")) is None
    assert fences.refusal(headers(7, "http://127.0.0.1:1")) is not None


async def test_a_fenced_balancer_starts_nothing() -> None:
    async with a_grid() as grid:
        substation = await grid.substation("substation1")
        charge = {"ev_id": "EV1", "request_id": "r1"}
        first = await grid.post("substation1", "/charge", charge, headers=headers(7))
        assert first.status == 202
        assert (await grid.post("substation1", "/fences", {"balancer": URL, "incarnation": 7})).status == 200
        answer = await grid.post("substation1", "/charge", {"ev_id": "EV2"}, headers=headers(7))
        assert (answer.status, (await answer.json())["incarnation"]) == (410, 7)
        assert substation.admission.sessions == 1
        assert (await grid.post("substation1", "/charge", {"ev_id": "EV2"}, headers=headers(8))).status == 202


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], ""),
        ({"balancer": "ftp://x", "incarnation": 1}, "balancer"),
        ({"balancer": URL}, "incarnation"),
        ({"balancer": URL, "incarnation": True}, "incarnation"),
        ({"balancer": URL, "incarnation": -1}, "incarnation"),
        ({"balancer": URL, "incarnation": 2**62}, "incarnation"),
    ],
)
async def test_a_bad_fence_is_refused_by_name(body: Any, field: str) -> None:
    async with a_grid() as grid:
        await grid.substation("substation1")
        answer = await grid.post("substation1", "/fences", body)
        assert answer.status == 422
        assert (await answer.json())["errors"][0]["field"] == field
