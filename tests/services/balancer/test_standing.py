"""Ejection that grows, ends and is capped; a return by degrees."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.balancer.ledger import Ledger
from services.balancer.standing import EJECTION_CAP_S, MOST_EJECTED_SHARE, WARM, Standing
from services.balancer.targets import Target
from services.routing.node import FRESH, STALE, SUSPECT


def heard() -> Standing:
    standing = Standing()
    standing.answer()
    return standing


def test_one_that_was_never_heard_is_asked_by_one_request_at_a_time() -> None:
    standing = Standing()
    assert (standing.alone, standing.rank(0, slow=False)) == (True, STALE)
    standing.answer()
    assert (standing.alone, standing.rank(5, slow=False)) == (False, FRESH)


def test_a_returning_one_is_given_twice_as_much_after_each_success() -> None:
    standing = heard()
    standing.fail(0.0, 0.0, may_eject=True)
    assert (standing.ejected, standing.rank(0, slow=False), standing.due_s) == (True, SUSPECT, 1.0)
    assert not standing.advance(0.9)
    assert standing.advance(1.0)
    allowance = 1
    while allowance < WARM:
        assert standing.rank(allowance - 1, slow=False) == FRESH
        assert standing.rank(allowance, slow=False) == STALE
        standing.succeed()
        allowance *= 2
    assert standing.rank(10**6, slow=False) == FRESH


def test_an_answer_after_silence_is_a_return() -> None:
    standing = heard()
    standing.miss_poll()
    standing.miss_poll()
    assert standing.silent
    standing.answer()
    assert (standing.rank(0, slow=False), standing.rank(1, slow=False)) == (FRESH, STALE)


def test_a_restart_is_forgiven_at_once_and_welcomed_gradually() -> None:
    standing = heard()
    standing.fail(0.0, 0.0, may_eject=True)
    standing.restart()
    assert (standing.rank(0, slow=False), standing.rank(1, slow=False)) == (FRESH, STALE)
    standing.fail(5.0, 5.0, may_eject=True)
    assert standing.due_s == 6.0, "the first failure of this one"


def test_where_too_many_are_ejected_others_only_rank_later() -> None:
    standing = heard()
    standing.fail(0.0, 0.0, may_eject=False)
    assert (standing.ejected, standing.alone, standing.rank(0, slow=False)) == (False, False, STALE)
    standing.advance(1.0)
    assert standing.rank(0, slow=False) == FRESH


@given(st.lists(st.floats(0.0, 100.0), max_size=20))
def test_no_ejection_is_longer_than_the_cap(pauses_s: list[float]) -> None:
    standing, now_s = heard(), 0.0
    for pause_s in pauses_s:
        standing.fail(now_s, now_s, may_eject=True)
        assert now_s < standing.due_s <= now_s + EJECTION_CAP_S
        now_s += pause_s
        standing.advance(now_s)


@given(st.integers(1, 30), st.lists(st.integers(0, 29), max_size=60))
def test_never_a_large_share_of_the_fleet_is_ejected(count: int, failing: list[int]) -> None:
    ledger = Ledger(7_400)
    new, _ = ledger.update(Target(f"s{number}", f"http://s{number}") for number in range(count))
    for now_s, which in enumerate(failing):
        new[which % count].suspect(float(now_s), float(now_s))
        ejected = sum(account.standing.ejected for account in ledger)
        assert ejected <= max(1, MOST_EJECTED_SHARE * count)
