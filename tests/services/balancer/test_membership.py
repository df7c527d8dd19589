"""What a balancer believes of the others: who owns an EV, who is dead, and that attempts of later owners are higher."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.balancer.membership import MOST, Members
from services.balancer.ownership import owner

A, B, C = URLS = ["http://127.0.0.1:8081", "http://127.0.0.1:8082", "http://127.0.0.1:8083"]


def ready(url: str = A, urls: list[str] = URLS) -> Members:
    """One that knows the others of `urls` and has its share."""
    members = Members.of(url, urls, incarnation=10)
    for peer in members.peers.values():
        members.welcome(peer, 10)
    members.ready = True
    return members


def test_one_alone_owns_all_once_it_is_ready() -> None:
    members = Members.of(A, [A], 1)
    assert members.whose("EV1") is None
    members.ready = True
    assert members.whose("EV1") == A


def test_nobody_is_asked_before_this_one_is_ready() -> None:
    members = ready()
    members.ready = False
    assert members.whose("EV1") is None


@given(st.text(max_size=9))
def test_the_share_of_a_dead_one_waits_until_it_is_taken_over(ev_id: str) -> None:
    members = ready()
    before = members.whose(ev_id)
    assert before == owner(ev_id, URLS)
    members.lose(members.peers[B], now=99)
    during = members.whose(ev_id)
    heir = owner(ev_id, [A, C])
    assert during == (before if before != B else None if heir == A else C)
    members.peers[B].taken = True
    assert members.whose(ev_id) == heir


@given(st.text(max_size=9))
def test_a_leaving_one_gives_all_away_unless_nobody_else_is_there(ev_id: str) -> None:
    members = ready()
    members.leaving = True
    assert members.whose(ev_id) == owner(ev_id, [B, C])
    for url in (B, C):
        members.lose(members.peers[url], now=99)
        members.peers[url].taken = True
    assert members.whose(ev_id) == A


def test_a_dead_one_is_fenced_by_what_is_known_of_it() -> None:
    members = Members.of(A, [A, B, C], 10)
    members.welcome(members.peers[B], 7)
    members.lose(members.peers[B], now=99)
    members.lose(members.peers[C], now=99)
    assert members.fences == {B: 7, C: 99}


def test_one_that_was_counted_as_dead_comes_back_above_its_fence() -> None:
    members = ready()
    members.reborn(above=50, now=20)
    assert (members.incarnation, members.ready) == (51, False)
    members.reborn(above=51, now=70)
    assert members.incarnation == 70


@given(st.lists(st.sampled_from(URLS), min_size=1, max_size=20), st.integers(0, 100))
def test_every_new_term_is_above_all_known_ones_and_nobody_elses(order: list[str], least: int) -> None:
    everyone = {url: ready(url) for url in URLS}
    terms: list[int] = []
    for url in order:
        term = everyone[url].next_term(least)
        assert term > max([least, *terms])
        terms.append(term)
        for other in URLS:
            if other != url:
                everyone[other].peers[url].term = term


@given(st.integers(0, 1000))
def test_no_two_balancers_begin_the_same_term_though_they_know_the_same(least: int) -> None:
    assert len({ready(url).next_term(least) for url in URLS}) == len(URLS)


def test_one_alone_begins_no_term_unless_there_was_one() -> None:
    assert Members.of(A, [A], 1).next_term() == 0
    assert Members.of(A, [A], 1).next_term(3) == 4


def test_no_more_balancers_are_listened_to_than_can_be() -> None:
    members = ready()
    found = [members.peer(f"http://127.0.0.1:{port}") for port in range(9000, 9100)]
    assert sum(peer is not None for peer in found) + 2 == MOST
    assert members.peer(A) is None, "not itself"


def test_of_two_that_number_attempts_alike_one_gives_way() -> None:
    first, second = ready(A), ready(B)
    first.term = second.term = first.peers[B].term = second.peers[A].term = 7
    assert [first.must_renumber(first.peers[B]), second.must_renumber(second.peers[A])] == [True, False]
    assert first.next_term() > 7
    assert not first.must_renumber(first.peers[B])
