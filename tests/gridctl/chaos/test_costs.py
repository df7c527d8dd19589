"""Each failure is put on one fault's account, and the longest silence is found."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gridctl.chaos.costs import Cost, Deed, Reply, costs
from gridctl.chaos.timeline import Step


def deed(began_s: float, ended_s: float) -> Deed:
    return Deed(Step(began_s, "kill", "balancer"), began_s, ended_s)


def accepted(*at_s: float) -> list[Reply]:
    return [Reply(at - 0.01, at, "accepted") for at in at_s]


def failed(sent_s: float, answered_s: float, late: bool = False) -> Reply:
    return Reply(sent_s, answered_s, "failed", late)


def blamed(deeds: list[Deed], reply: Reply) -> list[int]:
    return [cost.failed for cost in costs(deeds, [reply], 0, 30).each]


def test_what_waited_in_vain_is_the_cost_of_what_was_on_when_it_was_sent() -> None:
    deeds = [deed(10, 13), deed(14, 15), deed(22, 23)]
    assert blamed(deeds, failed(10.5, 22.5, late=True)) == [1, 0, 0]
    assert blamed(deeds, failed(9.5, 22.5, late=True)) == [1, 0, 0]


def test_what_broke_is_the_cost_of_what_was_on_when_it_broke() -> None:
    deeds = [deed(18, 20), deed(20, 25), deed(26, 29)]
    assert blamed(deeds, failed(19, 26.1)) == [0, 0, 1]


def test_a_request_on_its_way_when_a_short_fault_struck_is_its_cost() -> None:
    assert blamed([deed(5, 6), deed(10, 10.1)], failed(9.95, 10.2)) == [0, 1]


def test_of_two_that_are_on_the_newer_one_is_blamed() -> None:
    assert blamed([deed(1, 9), deed(4, 6)], failed(4.5, 5)) == [0, 1]
    assert blamed([deed(1, 9), deed(4, 6)], failed(6.5, 7)) == [1, 0]


def test_a_failure_without_any_fault_is_counted_apart() -> None:
    found = costs([deed(10, 11)], [failed(1, 2), failed(20, 21)], 0, 30)
    assert (found.each[0].failed, found.failed_otherwise) == (0, 2)


def test_a_gap_counts_for_every_fault_that_was_on_in_it() -> None:
    found = costs([deed(0.5, 0.6), deed(2.5, 3.0), deed(3.5, 8.0)], accepted(1, 2, 4, 7), 0, 8)
    assert [cost.longest_gap_s for cost in found.each] == [1, 2, 3]
    assert found.longest_gap_s == 3


def test_what_never_came_again_is_a_gap_until_the_end() -> None:
    assert costs([deed(2, 3)], accepted(1, 2), 0, 20).each[0].longest_gap_s == 18


def test_without_load_nothing_is_measured() -> None:
    found = costs([deed(1, 2)], [], 0, 20)
    assert found.each == (Cost(0, None),)
    assert found.longest_gap_s is None


def test_a_deed_at_the_very_end_had_the_last_gap() -> None:
    replies = [Reply(0, 0, "accepted")]
    assert costs([deed(20, 20)], replies, 0, 20).each == (Cost(0, 20.0),)
    assert costs([deed(20, 20)], [*replies, Reply(20, 20, "accepted")], 0, 20).each == (Cost(0, 0.0),)


TIMES = st.floats(0, 100)


@settings(deadline=None)
@given(
    spans=st.lists(st.tuples(TIMES, TIMES).map(sorted), max_size=8),
    sent=st.lists(st.tuples(TIMES, TIMES, st.sampled_from(["accepted", "refused", "failed"])), max_size=40),
)
def test_each_failure_counts_exactly_once_and_no_gap_is_longer_than_the_longest(
    spans: list[list[float]], sent: list[tuple[float, float, str]]
) -> None:
    replies = [Reply(min(one, two), max(one, two), kind) for one, two, kind in sent]
    found = costs([deed(*span) for span in spans], replies, 0, 100)
    failures = sum(reply.kind == "failed" for reply in replies)
    assert sum(cost.failed for cost in found.each) + found.failed_otherwise == failures
    for cost in found.each:
        if replies:
            assert cost.longest_gap_s is not None
            assert found.longest_gap_s is not None
            assert cost.longest_gap_s <= found.longest_gap_s
