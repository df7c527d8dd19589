"""The references: by hand, against a plain count, and against published and simulated figures."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.routing.reference import Arrival, blocked_pooled, erlang_b, jsq_spread

#: Fixed sessions of 30 s on substations of 10 slots, Poisson arrivals.
SESSION_S = 30.0
SLOTS = 10


def poisson(substations: int, load: float, until_s: float, seed: int) -> list[Arrival]:
    rng, now_s, arrivals = Random(seed), 0.0, []
    while (now_s := now_s + rng.expovariate(load * SLOTS * substations / SESSION_S)) < until_s:
        arrivals.append(Arrival(now_s, SESSION_S))
    return arrivals


def test_spread_by_hand() -> None:
    # one of two is taken from 0 to 4, both from 1 to 4, the second alone from 4 to 5: spread 1, 0, 1 until 6
    arrivals = [Arrival(0, 4), Arrival(1, 4), Arrival(6, 1)]
    assert jsq_spread(arrivals, [2, 2]) == pytest.approx((1 + 0 + 1) / 6)
    assert jsq_spread(arrivals, [2, 2], since_s=1, until_s=5) == pytest.approx(1 / 4)
    assert jsq_spread(arrivals, [2, 2], until_s=8) == pytest.approx((1 + 0 + 1 + 1) / 8)


def test_who_ends_makes_room_for_who_begins_at_that_moment() -> None:
    arrivals = [Arrival(0, 5), Arrival(5, 5), Arrival(7, 5), Arrival(9, 1)]
    assert jsq_spread(arrivals, [1, 1]) == pytest.approx((5 + 2 + 0) / 9)
    assert blocked_pooled(arrivals, 1) == 2 / 4
    assert blocked_pooled(arrivals, 2) == 1 / 4
    assert blocked_pooled(arrivals, 2, since_s=8) == 1.0


def test_the_load_after_placement_decides_between_sizes() -> None:
    # 1/1 is more than 2/10: the small one is taken last
    arrivals = [Arrival(0, 10)] * 2 + [Arrival(10, 1)]
    assert jsq_spread(arrivals, [1, 10]) == pytest.approx(2)


def test_power_is_a_limit_of_its_own() -> None:
    # 22 kW take two of 11 kW: the third has to wait for an end
    arrivals = [Arrival(0, 5, 11_000), Arrival(1, 5, 11_000), Arrival(2, 5, 7_400), Arrival(5, 5, 7_400)]
    assert blocked_pooled(arrivals, 10, capacity_w=22_000) == 1 / 4
    assert blocked_pooled(arrivals, 10) == 0
    # two of 11 kW each have no room for 15 kW, their pool has
    split = [Arrival(0, 5, 5_000), Arrival(0, 5, 5_000), Arrival(1, 5, 12_000)]
    assert blocked_pooled(split, 10, capacity_w=22_000) == 0
    assert jsq_spread(split, [5, 5], until_s=5, capacities_w=[11_000, 11_000]) == 0
    # by watts the first one's load would be 5/11 with one, the second's is 2/5 with two: it takes all three
    assert jsq_spread(split, [5, 5], until_s=5, capacities_w=[11_000, None]) == pytest.approx((2 * 1 + 3 * 4) / 5)


def test_what_is_not_counted_takes_its_place_all_the_same() -> None:
    arrivals = [Arrival(0, 5, counted=False), Arrival(1, 5), Arrival(5, 5), Arrival(6, 1, counted=False)]
    assert blocked_pooled(arrivals, 1) == 1 / 2
    assert blocked_pooled(arrivals[:1], 1) is None


@pytest.mark.parametrize("capacities", [[], [3]])
def test_nothing_to_measure(capacities: list[int]) -> None:
    assert jsq_spread([], capacities) is None
    assert blocked_pooled([], sum(capacities)) is None
    assert jsq_spread([Arrival(1, 1)], capacities) is None
    assert jsq_spread([Arrival(1, 1), Arrival(2, 1)], capacities) == (None if not capacities else 0)


@given(
    times=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30)), min_size=1, max_size=40),
    capacities=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    seed=st.integers(0, 9),
)
def test_spread_is_within_what_the_slots_allow(times: list[tuple[int, int]], capacities: list[int], seed: int) -> None:
    arrivals = [Arrival(at_s, length_s) for at_s, length_s in times]
    spread = jsq_spread(arrivals, capacities, until_s=100, seed=seed)
    assert spread is not None
    assert 0 <= spread <= max(capacities)
    assert spread == jsq_spread(arrivals, capacities, until_s=100, seed=seed)


@given(times=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30)), min_size=1, max_size=40))
def test_spread_of_two_with_room_for_all_is_a_plain_count(times: list[tuple[int, int]]) -> None:
    arrivals = sorted((Arrival(at_s, length_s) for at_s, length_s in times), key=lambda each: each.at_s)
    running: list[list[int]] = [[], []]
    area = 0
    for moment in range(80):
        running = [[end for end in ends if end > moment] for ends in running]
        for arrival in arrivals:
            if arrival.at_s == moment:
                # a tie goes to either: the spread is the same only for as long as their ends are, so compare bounds
                min(running, key=len).append(moment + int(arrival.length_s))
        area += abs(len(running[0]) - len(running[1]))
    equal = len({arrival.length_s for arrival in arrivals}) == 1
    spread = jsq_spread(arrivals, [100, 100], since_s=0, until_s=80)
    assert spread is not None
    assert not equal or spread == pytest.approx(area / 80)


# What a simulation that shares no code with this one gave: the spread of perfect join-the-shortest-queue, the share blocked.
@pytest.mark.parametrize(
    ("substations", "load", "spread"),
    [(3, 0.5, 1.1), (3, 0.8, 1.1), (100, 0.5, 1.6), (100, 0.8, 1.6), (100, 0.95, 1.5)],
)
def test_spread_of_known_grids(substations: int, load: float, spread: float) -> None:
    until_s = 40_000 if substations == 3 else 1_500
    arrivals = poisson(substations, load, until_s, seed=1)
    assert jsq_spread(arrivals, [SLOTS] * substations, since_s=100) == pytest.approx(spread, abs=0.1)


@pytest.mark.parametrize(
    ("substations", "load", "blocked", "within"),
    [(3, 0.8, 0.0393, 0.003), (3, 0.95, 0.1059, 0.005), (100, 0.95, 0.0038, 0.002)],
)
def test_blocked_of_known_grids(substations: int, load: float, blocked: float, within: float) -> None:
    arrivals = poisson(substations, load, 40_000 if substations == 3 else 6_000, seed=1)
    assert blocked_pooled(arrivals, SLOTS * substations, since_s=100) == pytest.approx(blocked, abs=within)


@pytest.mark.parametrize(
    ("slots", "per_cent"),
    [
        (10, (1.84, 12.2, 16.8, 19.1, 21.5)),
        (30, (0.022, 4.01, 8.19, 10.7, 13.2)),
        (100, (0, 0.40, 2.7, 4.9, 7.6)),
        (1000, (0, 0, 0.006, 0.365, 2.48)),
    ],
)
def test_erlang_b_by_the_tables(slots: int, per_cent: tuple[float, ...]) -> None:
    values = [erlang_b(load * slots, slots) for load in (0.5, 0.8, 0.9, 0.95, 1.0)]
    assert [100 * value for value in values if value is not None] == pytest.approx(per_cent, rel=0.02, abs=0.005)


def test_erlang_b_where_it_is_undefined() -> None:
    assert [erlang_b(1, 0), erlang_b(float("inf"), 3), erlang_b(-1, 3), erlang_b(1e9, 10**9)] == [None] * 4
    assert erlang_b(0, 5) == 0
