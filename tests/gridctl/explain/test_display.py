"""The story of a request reads as it happened."""

from __future__ import annotations

from typing import Any

import pytest

from gridctl.explain.display import lines, moment, why
from gridctl.explain.story import Doubt, Revocation, Ring, Stay, Story, Wait


def seen(name: str, sessions: int = 0, rank: str = "fresh", **more: Any) -> dict[str, Any]:
    return {
        "substation": name,
        "sessions": sessions,
        "max_sessions": 10,
        "load_kw": 7.4 * sessions,
        "capacity_kw": None,
        "rank": rank,
        "report_age_s": 0.25,
        **more,
    }


def choice(*candidates: dict[str, Any], chosen: str | None, count: int = 0, tries: Any = ()) -> dict[str, Any]:
    return {
        "after_s": 0.0,
        "count": count or len(candidates),
        "chosen": chosen,
        "candidates": list(candidates),
        "tries": [{"attempt": a, "result": r, "detail": "", "took_s": 0.003} for a, r in tries],
    }


def decided(*rounds: dict[str, Any], outcome: dict[str, Any] | None, left_out: int = 0) -> dict[str, Any]:
    return {
        "balancer": "balancer",
        "ev_id": "EV7",
        "power_kw": 7.4,
        "began_s": 1000.0,
        "took_s": 0.0125,
        "rounds_left_out": left_out,
        "rounds": list(rounds),
        "outcome": outcome,
    }


RING = Ring("balancer", 900.0, 10_000, "ledger")
ACCEPTED = {"status": 202, "substation": "s1", "reason": None, "detail": ""}
STAY = Stay("s1", 2, 7.4, 1000.0, 1030.0, 1010.0, "revoked", "revoked", "journal")


def test_an_accepted_request_shows_each_choice_and_what_came_of_it() -> None:
    first = choice(seen("s2", 1), seen("s1", 2), chosen="s2", count=40, tries=[(1, "unknown"), (1, "unknown")])
    second = choice(seen("s1", 2), chosen="s1", tries=[(2, "accepted")])
    text = "\n".join(lines(Story("r7", (RING,), (decided(first, second, outcome=ACCEPTED),))))
    for words in (
        "request r7",
        f"{moment(1000.0)}  balancer placed EV7 (7.4 kW) by ledger, in 12.5 ms",
        "1. s2 of 40: the least load",
        "→  s2              1/10",
        "0.250 s",
        "… and 38 more",
        "attempt 1: unknown after 3.0 ms, no answer: nobody knew whether it had begun",
        "2. s1 of 1: the only one that could be asked",
        "attempt 2: accepted",
        "→ 202: it went to s1",
    ):
        assert words in text
    assert "older than" not in text


def test_a_refused_request_shows_how_all_stood() -> None:
    refused = {"status": 503, "substation": None, "reason": "grid-full", "detail": "every substation is full"}
    story = Story("r7", (RING,), (decided(choice(seen("s1", 10), chosen=None), outcome=refused, left_out=3),))
    text = "\n".join(lines(story))
    assert "4. nobody was left to be asked; the balancer believed:" in text
    assert "10/10" in text
    assert "100.0%" in text
    assert "→ 503 grid-full: every substation is full" in text
    assert "… 3 earlier rounds are not remembered" in text


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (choice(seen("a"), chosen="a"), "the only one that could be asked"),
        (choice(seen("a", 1), seen("b", 2), chosen="a"), "the least load"),
        (
            choice(seen("a", 1), seen("b", 1), seen("c", 2), chosen="a"),
            "the least load, shared with others, so by chance",
        ),
        (choice(seen("a", 5), seen("b", 1, "stale"), chosen="a"), "the only one with a fresh report"),
        (choice(seen("a", 5), seen("b", 1), chosen="a"), "the policy's choice, though others had less load"),
        (choice(seen("a", 5), chosen="a", count=9), "the policy's choice"),
        (choice(seen("a", 1, load_kw=70.0, capacity_kw=74.0), seen("b", 9), chosen="a"), "the policy's choice, though"),
    ],
)
def test_why_is_said_in_a_phrase(made: dict[str, Any], reason: str) -> None:
    assert why(made).startswith(reason)


def test_what_no_ring_remembers_says_so_and_shows_what_else_is_known() -> None:
    story = Story(
        "r7",
        (Ring("balancer1", 2000.0, 10_000, "ledger"), Ring("balancer2", silent="does not answer")),
        stays=(STAY,),
        revocations=(Revocation("s1", 2, 1009.0, "balancer1", 1010.0), Revocation("s1", 2, 1010.0, "s1")),
        doubts=(Doubt("balancer1", "s3", 1, 999.0),),
        waits=(Wait("balancer1", 990.0, 1600.0, "placed", None, "s1", 1000.0),),
        log=({"ts": "1970-01-01T00:16:49Z", "name": "s1", "message": "revoked", "request_id": "r7", "attempt": 2},),
        notes=("s9.db is damaged",),
    )
    text = "\n".join(lines(story))
    for words in (
        f"older than the memory of balancer1: its last 10,000 decisions at most,\nfrom {moment(2000.0)} on",
        f"queued by balancer1 until {moment(1600.0)}: placed to s1 at {moment(1000.0)}",
        "s1, attempt 2, 7.4 kW, planned until",
        "revoked (revoked)",
        f"attempts up to 2 at s1, by balancer1; heard there at {moment(1010.0)}",
        "attempts up to 2 at s1, as s1 noted",
        "attempt 1 sent to s3 by balancer1",
        "s1: revoked  attempt=2",
        "balancer2 does not answer",
        "s9.db is damaged",
    ):
        assert words in text
    assert story.forgotten


def test_what_was_answered_before_anything_was_chosen_is_not_called_old() -> None:
    text = "\n".join(lines(Story("r7", (RING,), stays=(STAY,))))
    assert "balancer chose no substation for it" in text
    assert "older" not in text


def test_of_a_stopped_grid_it_says_that_nobody_remembers() -> None:
    assert "No balancer runs that could remember" in "\n".join(lines(Story("r7", stays=(STAY,))))
    assert not Story("r7").known
