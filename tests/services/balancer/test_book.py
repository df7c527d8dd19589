"""Who is remembered, for how long, and who wins where two claim one request."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.balancer.book import Book, Entry
from services.balancer.collection import AGAIN_S, Agenda, entries


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


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(-1, 3)), max_size=60))
def test_each_is_remembered_for_the_window_and_no_longer(starts: list[tuple[float, float]]) -> None:
    book, now_s, ends_s = Book(window_s=1.5), 0.0, dict[str, float]()
    for number, (pause_s, length_s) in enumerate(starts):
        now_s += pause_s
        ends_s[f"r{number}"] = now_s + length_s
        book.add(entry(f"r{number}", f"EV{number}", ends_at_s=now_s + length_s))
        known = {request_id for request_id in ends_s if book.find(request_id, now_s)}
        assert known == {request_id for request_id, end_s in ends_s.items() if end_s + 1.5 > now_s}


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
    book.add(entry("r4", "EV4", "s1"))
    book.drop_lost("s1", epoch=2, found={"r4"}, now_s=0)
    assert book.find("r1", 0) is None
    assert book.charging("EV1", 0) is None
    assert book.find("r2", 0) is not None
    assert book.find("r3", 0) is not None
    assert book.find("r4", 0) is not None, "it goes on by the journal"


def test_of_equal_attempts_the_known_one_stays() -> None:
    book = Book()
    first, second = entry(at="s1"), entry(at="s2")
    assert book.add(first) is None
    assert book.add(second) is second
    assert book.find("r1", 0) is first


def test_what_is_over_stays_over() -> None:
    book = Book()
    first = entry()
    book.add(first)
    book.close(first, "cancelled", None, 5.0)
    assert book.add(entry()) is None
    found = book.find("r1", 6.0)
    assert found is not None
    assert (found.state_at(6.0), found.ends_at_s) == ("cancelled", 5.0)
    assert book.charging("EV1", 0.0) is None


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
    bad = [None, {}, {**good, "ev_id": 5}, {**good, "ends_s": "soon"}, {**good, "state": "asleep"}]
    (found,) = entries({"epoch": 9, "now_s": 1_000.0, "sessions": [*bad, good]}, "s1", 7.0)
    assert (found.request_id, found.substation, found.attempt, found.ends_at_s, found.epoch) == ("r1", "s1", 2, 37.0, 9)
    assert entries({"sessions": [good]}, "s1", 7.0) == []
    assert entries({"now_s": 0, "sessions": "x"}, "s1", 7.0) == []
    over = {**good, "state": "dropped", "reason": "drain-timeout", "ended_s": 1_010.0}
    (found,) = entries({"epoch": 9, "now_s": 1_000.0, "sessions": [over]}, "s1", 7.0)
    assert (found.state_at(7.0), found.reason, found.ends_at_s) == ("dropped", "drain-timeout", 17.0)


def test_sessions_are_collected_at_once_and_twice_again() -> None:
    agenda = Agenda((10.0, AGAIN_S))
    assert agenda.is_due(1, was_silent=True, now_s=0.0)
    assert agenda.is_due(1, was_silent=False, now_s=0.5), "until it is done"
    agenda.begin()
    agenda.done(1, 0.5)
    assert not agenda.is_due(1, was_silent=False, now_s=1.4)
    assert agenda.wait_s(5.0, 1.0) == 0.5
    assert agenda.is_due(1, was_silent=False, now_s=1.5)
    agenda.begin()
    agenda.done(1, 1.6)
    assert agenda.wait_s(5.0, 1.6) == 5.0
    assert agenda.is_due(1, was_silent=False, now_s=10.5)
    agenda.begin()
    agenda.done(1, 10.5)
    assert agenda.wait_s(60.0, 11.0) == 60.0
    assert agenda.is_due(2, was_silent=False, now_s=11.0), "another epoch"
    agenda.begin()
    agenda.done(2, 11.0)
    assert agenda.is_due(2, was_silent=True, now_s=11.5), "a return"


def test_what_was_given_up_is_not_taken_in_when_it_is_found() -> None:
    book = Book()
    book.given_up("r1", 2)
    void = Entry("r1", "EV1", "s1", 2, 100.0, 1, sure=False)
    assert book.add(void) is void
    assert book.find("r1", 0.0) is None
    served = Entry("r1", "EV1", "s1", 2, 0.0, 1, "ended", sure=False)
    assert book.add(served) is None
    assert book.find("r1", 0.0) is served, "it came to its planned end all the same"
    kept = Entry("r1", "EV1", "s2", 3, 100.0, 1)
    assert book.add(kept) is served
    book.given_up("r1", 3)
    assert book.find("r1", 0.0) is None, "given up after it was found"


def test_a_session_of_an_earlier_owner_is_doubtful_until_it_is_sure() -> None:
    book = Book()
    found = Entry("r1", "EV1", "s1", 2_001, 100.0, 1, sure=False)
    book.add(found)
    assert not book.is_doubtful(found), "one balancer knows its own attempts"
    book.first_attempt = 3_000
    assert book.is_doubtful(found)
    book.add(Entry("r1", "EV1", "s1", 2_001, 100.0, 1))
    again = Entry("r1", "EV1", "s1", 2_001, 100.0, 1, sure=False)
    book.add(again)
    assert not book.is_doubtful(again), "its owner said that it told its client"
