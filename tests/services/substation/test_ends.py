"""Planned ends stay in order whatever comes and goes, as in a plain sorted list."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from services.substation.ends import Ends, end
from services.substation.session import Session

#: What is done: add one that ends then, remove the so manyth, end what is due by then, load several at once.
STEPS = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 9)),
    st.tuples(st.just("remove"), st.integers(0, 99)),
    st.tuples(st.just("due"), st.integers(0, 9)),
    st.tuples(st.just("load"), st.lists(st.integers(0, 9), max_size=12)),
)


def session(number: int, ends_s: float) -> Session:
    return Session(f"r{number}", f"EV{number}", 1, 7400, 0.0, ends_s, number=number)


@given(st.lists(STEPS, max_size=60), st.integers(1, 4))
def test_it_holds_what_a_sorted_list_would(steps: list[tuple[str, int | list[int]]], piece: int) -> None:
    ends, expected, number = Ends(piece), list[Session](), 0
    for what, value in steps:
        if isinstance(value, list):
            made = [session(number + each, at_s) for each, at_s in enumerate(value, 1)]
            number += len(made)
            ends.load(made)
            expected += made
        elif what == "add":
            number += 1
            expected.append(session(number, value))
            ends.add(expected[-1])
        elif what == "remove" and expected:
            ends.remove(expected.pop(value % len(expected)))
        elif what == "due":
            due = [each.number for each in ends.pop_due(value)]
            assert due == [each.number for each in ordered(expected) if each.ends_s <= value]
            expected = [each for each in expected if each.ends_s > value]
        assert [each[1] for each in ends] == [each.number for each in ordered(expected)]
        assert ends.first_s() == min((each.ends_s for each in expected), default=None)


def ordered(sessions: list[Session]) -> list[Session]:
    return sorted(sessions, key=lambda each: end(each)[:2])


def test_no_piece_grows_beyond_its_bound() -> None:
    ends = Ends(8)
    for number in range(1, 1000):
        ends.add(session(number, number * 7919 % 1000))
    sizes = [len(each) for each in ends._pieces]
    assert max(sizes) < 16
    assert sum(sizes) == 999


def test_nothing_is_held_after_all_was_cleared() -> None:
    ends = Ends()
    ends.load([session(1, 1.0), session(2, 2.0)])
    ends.clear()
    assert list(ends) == []
    assert ends.first_s() is None
