"""Which balancer an EV belongs to: everybody agrees, shares are even, and only the share of one that left moves."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.balancer.ownership import owner

URLS = [f"http://127.0.0.1:{port}" for port in range(8081, 8085)]
EVS = st.text(max_size=20)


@given(EVS, st.permutations(URLS))
def test_the_order_in_which_balancers_are_known_does_not_matter(ev_id: str, urls: list[str]) -> None:
    assert owner(ev_id, urls) == owner(ev_id, URLS)


@given(EVS, st.sampled_from(URLS))
def test_only_the_share_of_one_that_left_changes_hands(ev_id: str, gone: str) -> None:
    before, after = owner(ev_id, URLS), owner(ev_id, [url for url in URLS if url != gone])
    assert before in {after, gone}


def test_shares_are_even() -> None:
    shares = Counter(owner(f"EV{number}", URLS) for number in range(4_000))
    assert all(850 < count < 1_150 for count in shares.values()), shares
