"""Who is remembered, for how long, and who wins where two claim one request."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.balancer.book import Book, Entry
from services.balancer.watch import entries


def entry(request_id: str = "r1", ev_id: str = "EV1", at: str = "s1", attempt: int = 1, ends_at_s: float = 30) -> Entry:
    return Entry(request_id, ev_id, at, attempt, ends_at_s, epoch=1)


def test_an_entry_lasts_a_window_longer_than_its_session() -> None:
    book = Book(window_s=100)
    book.add(entry())
    assert book.charging("EV1", 29.9) is book.find("r1", 29.9)
    assert book.charging("EV1", 30) is None
    assert book.find("r1", 129.9) is not None
    assert book.find("r1", 130) is None
    assert len(book) == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(1, 100)), max_size=60), st.integers(1, 10))
def test_what_is_over_is_bounded_and_what_charges_is_kept(starts: list[tuple[int, float]], most: int) -> None:
    book = Book(window_s=1e6, most=most)
    for number, (_, ends_at_s) in enumerate(starts):
        book.add(entry(f"r{number}", f"EV{number}", ends_at_s=ends_at_s))
    book.find("", 50.0)
    charging = [number for number, (_, ends_at_s) in enumerate(starts) if ends_at_s > 50]
    assert all(book.find(f"r{number}", 50.0) for number in charging)
    assert len(book) <= max(most, len(charging))


def test_the_higher_attempt_wins() -> None:
    book = Book()
    first, second = entry(at="s1", attempt=1), entry(at="s2", attempt=2)
    assert book.add(first) is None
    assert book.add(second) is first
    assert book.add(first) is first
    assert book.find("r1", 0) is second
    assert book.add(entry(at="s2", attempt=2)) is None


def test_a_restart_loses_only_what_was_there_before() -> None:
    book = Book()
    book.add(entry("r1", "EV1", "s1"))
    book.add(entry("r2", "EV2", "s2"))
    book.add(Entry("r3", "EV3", "s1", 1, 30, epoch=2))
    book.drop_lost("s1", epoch=2)
    assert book.find("r1", 0) is None
    assert book.charging("EV1", 0) is None
    assert book.find("r2", 0) is not None
    assert book.find("r3", 0) is not None


def test_attempts_only_rise() -> None:
    book = Book(most=2)
    assert book.next_attempt("r1") == 1
    book.given_up("r1", 3)
    book.given_up("r1", 2)
    assert book.next_attempt("r1") == 4
    book.given_up("r2", 1)
    book.given_up("r3", 1)
    assert book.next_attempt("r1") == 1, "the oldest is forgotten where there are too many"


def test_records_that_are_none_are_left_out() -> None:
    good = {"request_id": "r1", "ev_id": "EV1", "attempt": 2, "ends_s": 1_030.0, "state": "charging"}
    bad = [None, {}, {**good, "ev_id": 5}, {**good, "ends_s": "soon"}, {**good, "state": "ended"}]
    (found,) = entries({"epoch": 9, "now_s": 1_000.0, "sessions": [*bad, good]}, "s1", 7.0)
    assert (found.request_id, found.substation, found.attempt, found.ends_at_s, found.epoch) == ("r1", "s1", 2, 37.0, 9)
    assert entries({"sessions": [good]}, "s1", 7.0) == []
    assert entries({"now_s": 0, "sessions": "x"}, "s1", 7.0) == []
