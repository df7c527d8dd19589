"""Each promise: broken ones are found and named, kept ones are not accused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridctl.audit import duplicates, limits, promises, rejections
from gridctl.audit.evidence import Counter, Evidence, Presence, Revocation, Stay, Wait
from gridctl.audit.verdict import Answered, Overlap, Refused, Violation
from tests.gridctl.audit.world import FOREVER, KW, HonestGrid, evidence, limit, station, stay

ONE = (limit(1),)


def over(*stays: Stay, **more: Any) -> list[tuple[str, float]]:
    return [(each.request_id, each.at_s) for each in limits.exceeded(station(*stays, **more))]


# -- I1 ---------------------------------------------------------------------------------------------------------------
def test_one_session_too_many_is_named_at_its_start() -> None:
    assert over(stay(0, 10, "a"), stay(9.999, 20, "b"), limits=ONE) == [("b", 9.999)]
    assert over(stay(0, 10, "a"), stay(5, request_id="b"), stay(6, request_id="c"), limits=ONE) == [("b", 5), ("c", 6)]


def test_who_ends_makes_room_for_who_begins_at_that_instant() -> None:
    assert over(stay(0, 10, "a"), stay(10, 20, "b"), limits=ONE) == []
    assert over(stay(10, 20, "b"), stay(0, 10, "a"), limits=ONE) == []
    assert over(stay(0, 10, "a"), stay(0, 10, "b"), limits=ONE) == [("b", 0)]


def test_power_is_judged_in_whole_watts() -> None:
    limited = (limit(20, 74_000),)
    ten = [stay(0, 10, f"r{n}") for n in range(10)]
    assert over(*ten, limits=limited) == []
    assert over(*ten, stay(1, 2, "x", power_w=1), limits=limited) == [("x", 1)]


def test_derating_below_the_load_cuts_nothing_and_lets_nothing_more_in() -> None:
    history = (limit(3), limit(1, since_s=5.0))
    running = [stay(0, 20, "a"), stay(1, 20, "b"), stay(2, 20, "c")]
    assert over(*running, limits=history) == []
    assert over(*running, stay(6, 30, "d"), limits=history) == [("d", 6)]
    assert over(*running[:1], stay(5, 30, "d"), limits=history) == []  # at the very instant: the more generous one
    assert over(*running[:1], stay(5.001, 30, "d"), limits=history) == [("d", 5.001)]
    assert over(stay(0, 9, "a"), stay(5, 9, "b"), limits=(limit(1), limit(2, since_s=5.0))) == []


def test_a_session_before_the_first_known_limit_is_judged_by_it() -> None:
    assert over(stay(0, 9, "a"), stay(1, 9, "b"), limits=(limit(1, since_s=5.0),)) == [("b", 1)]


def test_a_limit_that_is_not_hard_promises_nothing() -> None:
    soft = (limit(1, hard=False), limit(1, since_s=5.0))
    assert over(stay(0, 9, "a"), stay(1, 9, "b"), stay(6, 9, "c"), limits=soft) == [("c", 6)]


# -- I2 ---------------------------------------------------------------------------------------------------------------
def twice(found: Evidence) -> list[Violation | Overlap]:
    return list(duplicates.overlapping(found))


def test_two_sessions_of_one_request_at_once() -> None:
    found = twice(evidence(station(stay(0, 10)), station(stay(4, 12, attempt=2), name="s2")))
    assert [(type(each), each.request_id) for each in found] == [(Violation, "r1")]
    assert isinstance(found[0], Violation)
    assert (found[0].at_s, found[0].substation) == (4, "s2")
    assert "s1 (attempt 1)" in found[0].found


def test_one_after_the_other_is_no_overlap() -> None:
    assert twice(evidence(station(stay(0, 10)), station(stay(10, 12), name="s2"))) == []
    assert twice(evidence(station(stay(0, 10)), station(stay(9.999, 12), name="s2"))) == []  # two clocks
    assert len(twice(evidence(station(stay(0, 10)), station(stay(9.99, 12), name="s2")))) == 1
    assert len(twice(evidence(station(stay(0, 10), stay(9.999, 12))))) == 1  # one clock
    assert twice(evidence(station(stay(0, 10), stay(10, 12)))) == []


def revoked(start_s: float, end_s: float) -> Stay:
    return stay(start_s, end_s, state="revoked", planned_end_grid_s=start_s + 30)


@pytest.mark.parametrize(
    ("spans", "broken"),
    [
        (((0.0, 100.0),), True),  # reachable all the time, and 3 s too long
        (((0.0, 4.5), (11.5, 100.0)), False),  # away from 4.5 on, told 1.5 s after its return
        (((0.0, 4.5), (10.9, 100.0)), True),  # 2.1 s after
        ((), False),
    ],
)
def test_a_revoked_overlap_is_judged_by_when_its_substation_was_reachable(
    spans: tuple[tuple[float, float], ...], broken: bool
) -> None:
    stations = station(revoked(0, 13), present=Presence(spans)), station(stay(4, 40, attempt=2), name="s2")
    found = twice(evidence(*stations))
    overlap = next(each for each in found if isinstance(each, Overlap))
    assert (overlap.revoked_at, overlap.kept_at, overlap.start_s, overlap.end_s) == ("s1", "s2", 4, 13)
    assert any(isinstance(each, Violation) for each in found) is broken


def test_a_revocation_that_is_only_in_the_balancers_journal_counts() -> None:
    stations = station(stay(0), present=Presence(((0, 5),))), station(stay(4, attempt=2), name="s2")
    open_one = Revocation("r1", "s1", 1, 4.0, "balancer")
    assert [type(each) for each in twice(evidence(*stations, revocations=[open_one]))] == [Overlap]
    late = replace(stations[0], present=Presence(((0, 500),)))
    assert [type(each) for each in twice(evidence(late, stations[1], revocations=[open_one]))] == [Overlap, Violation]
    gone = {"balancer": Presence(((0, 5),))}
    found = twice(evidence(late, stations[1], revocations=[open_one], balancers=gone))
    assert [type(each) for each in found] == [Overlap]
    older = replace(open_one, attempt=0)
    assert [type(each) for each in twice(evidence(*stations, revocations=[older]))] == [Violation]


def test_two_revoked_ones_and_a_kept_one() -> None:
    stations = [
        station(revoked(0, 5)),
        station(revoked(4, 6), name="s2"),
        station(stay(5.5, 30, attempt=3), name="s3"),
    ]
    found = twice(evidence(*stations))
    assert [type(each) for each in found] == [Overlap]


# -- I3 ---------------------------------------------------------------------------------------------------------------
ANSWER = Answered("r1", 1.0, "s1")


def lost(*stays: Stay, answer: Answered = ANSWER, **more: Any) -> list[str]:
    return [each.found for each in promises.broken(evidence(station(*stays), answered=[answer], **more))]


def test_an_answer_without_a_session_is_lost() -> None:
    assert lost(stay(0, request_id="other")) == ["no journal has a session of it, no queue a place"]


@pytest.mark.parametrize(
    "session",
    [
        stay(0.9, 30.9),
        stay(0.9),
        stay(0, 0.5),  # asked again after its end
        stay(0.9, 5, state="cancelled", planned_end_grid_s=30.9),
        stay(0.9, 5, state="dropped", reason="drain-timeout", planned_end_grid_s=30.9),
        stay(1.004, 31),  # two clocks
    ],
)
def test_an_answer_that_was_kept(session: Stay) -> None:
    assert lost(session) == []


@pytest.mark.parametrize(
    ("session", "why"),
    [
        (stay(0.9, 5, state="dropped", planned_end_grid_s=30.9), "it dropped 25.900 grid seconds before"),
        (stay(0.9, 30.8, planned_end_grid_s=30.9), "it ended 0.100 grid seconds before"),
        (revoked(0.9, 5), "its only session, at s1, was revoked"),
        (stay(1.2, 31), "it had none for 0.200 s"),
    ],
)
def test_an_answer_that_was_broken(session: Stay, why: str) -> None:
    found = lost(session)
    assert len(found) == 1
    assert why in found[0]


def test_a_revoked_session_whose_successor_charges_is_in_order() -> None:
    assert lost(revoked(0.2, 0.9), stay(0.95, 31, attempt=2)) == []


def test_nothing_is_owed_after_the_planned_end_of_the_session_that_was_told() -> None:
    given_up = [Revocation("r1", "s1", 1, 0.45, "balancer")]
    told, other = Answered("r1", 1.0, "s1"), Answered("r1", 1.0, "s2")
    both = (stay(0.2, 0.4), stay(2.0, 32.0, attempt=2))
    assert lost(*both, answer=told, revocations=given_up) == []
    assert "none for 1.000 s" in lost(*both, answer=other, revocations=given_up)[0]


@pytest.mark.parametrize(
    ("wait", "why"),
    [
        (Wait("r1", "balancer", 1.0), None),
        (Wait("r1", "balancer", 1.0, 9.0, state="cancelled"), None),
        (Wait("r1", "balancer", 1.0, 9.0, state="dropped", reason="departed"), None),
        (Wait("r1", "balancer", 1.0, 9.0, state="dropped"), "recorded no reason"),
        (Wait("r1", "balancer", 1.0, 9.0, state="placed"), "placed it from its queue, and no journal"),
    ],
)
def test_a_place_in_a_queue(wait: Wait, why: str | None) -> None:
    found = lost(answer=Answered("r1", 1.0), waits=[wait])
    assert len(found) == (why is not None)
    assert why is None or why in found[0]


def test_from_the_queue_into_a_session() -> None:
    answer, wait = Answered("r1", 1.0), Wait("r1", "balancer", 1.0, 9.0, state="placed")
    assert lost(stay(9.0, 39.0), answer=answer, waits=[wait]) == []
    assert "none for 1.000 s, until s1" in lost(stay(10.0, 39.0), answer=answer, waits=[wait])[0]


def test_an_external_substation_is_not_promised_and_answers_count_once() -> None:
    elsewhere = Answered("r1", 1.0, "other")
    assert lost(answer=elsewhere, external=frozenset({"other"})) == []
    twice_told = [replace(ANSWER, at_s=2.0), ANSWER, Answered("r1", 1.0)]
    assert promises.once(twice_told) == [ANSWER]


def test_a_substation_that_answered_more_often_than_it_wrote_down() -> None:
    one = station(stay(0), begun={7: 3, 8: 1})
    said = [Counter("s1", 7, 3), Counter("s1", 8, 2), Counter("s1", 9, 5), Counter("gone", 7, 5)]
    found = list(promises.miscounted(evidence(one, counters=said)))
    assert [(each.promise, each.substation, each.found) for each in found] == [("I3", "s1", "1 of them")]


# -- refusals ---------------------------------------------------------------------------------------------------------
ASKED = Refused("x", 5.0, 6.0, KW)


def blamed(*stays: Stay, refused: Refused = ASKED, **more: Any) -> list[str]:
    tries = more.pop("failed_tries", {})
    one = station(*stays, **{"limits": ONE, **more})
    return [each.substation for each in rejections.avoidable([refused], [one], tries)]


def test_an_empty_substation_had_room() -> None:
    assert blamed() == ["s1"]
    assert blamed(stay(0, 4), stay(7, 9, "b")) == ["s1"]


@pytest.mark.parametrize(
    ("session", "guilty"),
    [
        (stay(0, 10), False),
        (stay(0, 5), True),  # ended as it came
        (stay(0, 5.001), False),
        (stay(6, 9), False),  # another got the place as it was refused
        (stay(6.001, 9), True),
        (stay(5.2, 5.3), False),  # not all the while
    ],
)
def test_room_all_the_while_means_both_ends_too(session: Stay, guilty: bool) -> None:
    assert blamed(session) == (["s1"] if guilty else [])


def test_room_needs_watts_too() -> None:
    limited = (limit(10, 20_000),)
    assert blamed(stay(0, 10, power_w=12_600), limits=limited) == ["s1"]
    assert blamed(stay(0, 10, power_w=12_601), limits=limited) == []


def test_a_limit_that_changed_meanwhile_counts_at_its_worst() -> None:
    history = (limit(1), limit(2, since_s=5.5))
    assert blamed(stay(0, 10), limits=history) == []
    assert blamed(stay(0, 10), limits=(limit(1), limit(2, since_s=5.0))) == ["s1"]
    assert blamed(limits=(limit(1), limit(1, since_s=5.5, admitting=False))) == []
    assert blamed(limits=(limit(1, since_s=5.5),)) == []  # not known before


def test_who_could_not_be_reached_is_not_blamed() -> None:
    assert blamed(present=Presence(((0, 5.9),))) == []
    assert blamed(present=Presence(((5.0, 6.0),))) == ["s1"]
    assert blamed(present=Presence(((0, 5.5), (5.6, 9)))) == []
    assert blamed(failed_tries={"s1": [1.0, 5.5, 9.0]}) == []
    assert blamed(failed_tries={"s1": [1.0, 4.999, 6.1], "s2": [5.5]}) == ["s1"]


def test_only_refusals_for_want_of_room_are_judged() -> None:
    assert blamed(refused=replace(ASKED, reason="recovering")) == []


def test_what_journals_have_forgotten_is_held_against_nobody() -> None:
    assert blamed(complete_since_s=5.001) == []
    assert blamed(complete_since_s=5.0) == ["s1"]
    late = station(complete_since_s=1.1)
    assert list(promises.broken(evidence(late, answered=[ANSWER]))) == []
    assert list(promises.broken(evidence(station(), answered=[ANSWER], waits_since_s=1.1))) == []
    assert len(list(promises.broken(evidence(station(), answered=[ANSWER], waits_since_s=1.0)))) == 1
    broken = station(stay(1.2, 31), complete_since_s=1.1)
    assert len(list(promises.broken(evidence(broken, answered=[ANSWER])))) == 1


def test_equal_instants_of_ends_and_starts_count_together() -> None:
    assert blamed(stay(0, 5.5, "a"), stay(5.5, 9, "b")) == []


# -- an honest grid ---------------------------------------------------------------------------------------------------
@given(
    arrivals=st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 30), st.sampled_from([3_700, 7_400, 11_000, 22_000])), max_size=60
    ),
    sizes=st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from([None, 15_000, 22_000, 44_000])), min_size=1, max_size=4
    ),
    now_s=st.integers(0, 100),
)
def test_an_honest_grid_is_never_accused_and_a_tampered_one_is(
    arrivals: list[tuple[int, int, int]], sizes: list[tuple[int, int | None]], now_s: int
) -> None:
    grid = HonestGrid({f"s{number}": limit(most, watts) for number, (most, watts) in enumerate(sizes)})
    for number, (at_s, length_s, power_w) in enumerate(sorted(arrivals)):
        if at_s <= now_s:
            grid.ask(number, float(at_s), float(length_s), power_w)
    found = grid.evidence(float(now_s))
    accused = [
        *(each for one in found.stations.values() for each in limits.exceeded(one)),
        *(each for each in twice(found) if isinstance(each, Violation)),
        *promises.broken(found),
        *rejections.avoidable(found.refused, found.stations.values()),
    ]
    assert accused == []
    for answer in found.answered[:3]:
        assert answer.substation is not None
        _tamper(grid, answer, float(now_s))


def _tamper(grid: HonestGrid, answer: Answered, now_s: float) -> None:
    """Take one session out of the records, or put a second one in: each is found."""
    assert answer.substation is not None
    found = grid.evidence(now_s)
    own = found.stations[answer.substation]
    without = replace(own, stays=[each for each in own.stays if each.request_id != answer.request_id])
    missing = replace(found, stations={**found.stations, own.name: without})
    assert [each.request_id for each in promises.broken(missing)] == [answer.request_id]
    again = replace(own, stays=[*own.stays, *(each for each in own.stays if each.request_id == answer.request_id)])
    doubled = replace(found, stations={**found.stations, own.name: again})
    assert [each.request_id for each in twice(doubled)] == [answer.request_id]
    more = [stay(own.stays[0].start_s, FOREVER, f"more{number}") for number in range(own.limits[0].max_sessions + 1)]
    assert list(limits.exceeded(replace(own, stays=[*own.stays, *more])))
    assert math.isinf(more[0].end_s)
