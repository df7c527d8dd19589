"""The ring of decisions: bounded, by request, and readable long after."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.balancer.decisions import MOST_OTHERS, MOST_ROUNDS, Decisions, View
from services.routing.node import STALE, Node
from tests.services.grid import Grid, a_grid


class Clock:
    """Seconds that move when told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def nodes(count: int) -> list[Node]:
    return [Node(f"s{number}", number, 10, sessions=number % 10) for number in range(count)]


def test_a_decision_says_who_was_weighed_who_was_asked_and_what_came_of_it() -> None:
    clock = Clock()
    ring = Decisions(View({"s1": -2.0}.get, now_s=clock), lambda: 1000.0)
    made = ring.begin("r1", "EV1", 7_400)
    seen = [Node("s0", 0, 10, 74_000, sessions=9, load_w=66_600, rank=STALE), Node("s1", 1, 10, sessions=3)]
    clock.now_s = 0.5
    made.weighed(seen, seen[1])
    clock.now_s = 0.75
    made.tried(1, "full", "", 0.5)
    made.weighed(seen[:1], seen[0])
    made.tried(1, "accepted", "", 0.75)
    made.ended(202, "s0")
    document = ring.document("r1")
    assert (document["request_id"], document["since_s"], document["kept"]) == ("r1", 1000.0, 10_000)
    [decision] = document["decisions"]
    assert (decision["ev_id"], decision["power_kw"], decision["began_s"]) == ("EV1", 7.4, 1000.0)
    assert decision["took_s"] == 0.75
    assert decision["outcome"] == {"status": 202, "substation": "s0", "reason": None, "detail": ""}
    first, second = decision["rounds"]
    assert (first["count"], first["chosen"], first["after_s"]) == (2, "s1", 0.5)
    assert first["tries"] == [{"attempt": 1, "result": "full", "detail": "", "took_s": 0.25}]
    assert [each["substation"] for each in first["candidates"]] == ["s1", "s0"]
    assert [each["report_age_s"] for each in first["candidates"]] == [2.5, None]
    assert first["candidates"][1] == {
        "substation": "s0",
        "sessions": 9,
        "max_sessions": 10,
        "load_kw": 66.6,
        "capacity_kw": 74.0,
        "rank": "stale",
        "report_age_s": None,
    }
    assert second["chosen"] == "s0"
    assert json.loads(json.dumps(document)) == document


def test_what_a_node_shows_later_does_not_change_what_was_decided() -> None:
    ring = Decisions()
    node = Node("s0", 0, 10)
    ring.begin("r1", "EV1", 1).weighed([node], node)
    node.sessions = 7
    assert ring.document("r1")["decisions"][0]["rounds"][0]["candidates"][0]["sessions"] == 0


def test_of_many_only_the_chosen_one_and_the_first_few_are_kept() -> None:
    ring = Decisions()
    many = nodes(10_000)
    ring.begin("r1", "EV1", 1).weighed(many, many[9])
    [made] = ring.document("r1")["decisions"][0]["rounds"]
    assert made["count"] == 10_000
    assert made["chosen"] == "s9"
    assert [each["substation"] for each in made["candidates"]] == ["s9", "s0", "s1", "s2", "s3"]


def test_where_nobody_was_left_all_are_shown_whatever_kept_them_out() -> None:
    ring = Decisions(View(everyone=lambda: nodes(9)))
    ring.begin("r1", "EV1", 1).weighed([], None, 9)
    [made] = ring.document("r1")["decisions"][0]["rounds"]
    assert (made["chosen"], made["count"], len(made["candidates"])) == (None, 9, 1 + MOST_OTHERS)


def test_a_request_that_meets_many_rounds_keeps_the_last_and_counts_the_rest() -> None:
    ring = Decisions()
    made = ring.begin("r1", "EV1", 1)
    for _ in range(MOST_ROUNDS + 3):
        made.weighed([], None)
    [decision] = ring.document("r1")["decisions"]
    assert (len(decision["rounds"]), decision["rounds_left_out"]) == (MOST_ROUNDS, 3)
    assert decision["outcome"] is None


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.integers(1, 10))
def test_the_ring_holds_the_newest_and_says_since_when(ids: list[str], kept: int) -> None:
    clock = Clock()
    ring = Decisions(unix_s=clock, kept=kept)
    for request_id in ids:
        clock.now_s += 1
        ring.begin(request_id, "EV", 1)
    newest = list(enumerate(ids, 1))[-kept:]
    assert len(ring) == len(newest)
    for request_id in "abcd":
        document = ring.document(request_id)
        assert [each["began_s"] for each in document["decisions"]] == [at for at, one in newest if one == request_id]
        assert document["since_s"] == (newest[0][0] if len(newest) == kept else 0.0)


async def test_a_balancer_tells_how_it_decided() -> None:
    async with a_grid() as grid:
        await grid.substation("s1", max_sessions=1)
        await grid.substation("s2", max_sessions=1)
        await grid.balancer("s1", "s2")
        placed = [await (await grid.route(f"EV{n}", request_id=f"r{n}")).json() for n in range(2)]
        assert (await grid.route("EV9", request_id="r9")).status == 503
        for number, answer in enumerate(placed):
            [decision] = await _decisions(grid, f"r{number}")
            assert decision["outcome"]["substation"] == answer["routed_to"]
            assert decision["rounds"][-1]["chosen"] == answer["routed_to"]
            assert decision["rounds"][-1]["tries"][-1]["result"] == "accepted"
            assert all(each["report_age_s"] < 60 for each in decision["rounds"][-1]["candidates"])
        [refused] = await _decisions(grid, "r9")
        assert (refused["outcome"]["status"], refused["outcome"]["reason"]) == (503, "grid-full")
        assert await _decisions(grid, "nobody") == []


async def _decisions(grid: Grid, request_id: str) -> list[dict[str, Any]]:
    document = await grid.get("balancer", f"/decisions?request_id={request_id}")
    return list(document["decisions"])


async def test_decisions_are_asked_for_by_a_request_id() -> None:
    async with a_grid() as grid:
        await grid.balancer()
        for query in ("", "?request_id=", "?request_id=..%2Fetc", "?request_id=" + "x" * 65):
            answer = await grid.client.get(f"{grid.urls['balancer']}/decisions{query}")
            assert answer.status == 422
            assert (await answer.json())["errors"][0]["field"] == "request_id"
