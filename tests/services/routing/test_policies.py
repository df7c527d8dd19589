"""One conformance suite over every policy, then what each promises of its own."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.topology import Policy as PolicyName
from services.routing.node import FRESH, STALE, SUSPECT, Node
from services.routing.policies import POLICIES, LeastLoaded, RoundRobin

every_policy = pytest.mark.parametrize("name", sorted(POLICIES))


def node(order: int, sessions: int = 0, max_sessions: int = 10, rank: int = FRESH) -> Node:
    return Node(f"substation{order}", order, max_sessions, None, sessions, sessions * 7400, rank)


@st.composite
def fleets(draw: st.DrawFn) -> list[Node]:
    count = draw(st.integers(1, 12))
    return [
        Node(
            name=f"substation{order}",
            order=order,
            max_sessions=draw(st.integers(1, 20)),
            capacity_w=draw(st.none() | st.integers(1, 200_000)),
            sessions=draw(st.integers(0, 25)),
            load_w=draw(st.integers(0, 250_000)),
            rank=draw(st.sampled_from([FRESH, STALE, SUSPECT])),
        )
        for order in range(count)
    ]


def test_the_topology_names_the_same_policies() -> None:
    assert set(get_args(PolicyName)) == set(POLICIES)


@every_policy
@given(fleet=fleets(), power_w=st.integers(1, 150_000), seed=st.integers(0, 99))
def test_picks_from_the_best_class(name: str, fleet: list[Node], power_w: int, seed: int) -> None:
    chosen = POLICIES[name]().pick(fleet, power_w, Random(seed))
    assert chosen in fleet
    classes = [(not entry.fits(power_w), entry.rank) for entry in fleet]
    assert (not chosen.fits(power_w), chosen.rank) == min(classes)


@every_policy
@given(fleet=fleets(), seed=st.integers(0, 99))
def test_the_same_seed_gives_the_same_choices(name: str, fleet: list[Node], seed: int) -> None:
    def choices() -> list[Node]:
        policy, rng = POLICIES[name](), Random(seed)
        return [policy.pick(fleet, 7400, rng) for _ in range(5)]

    assert choices() == choices()


@every_policy
def test_spreads_over_equal_nodes(name: str) -> None:
    policy, rng = POLICIES[name](), Random(1)
    fleet = [node(order) for order in range(4)]
    counts = Counter(policy.pick(fleet, 7400, rng).order for _ in range(400))
    assert set(counts) == {0, 1, 2, 3}
    assert min(counts.values()) > 60


@every_policy
def test_fills_every_slot_before_it_names_a_full_node(name: str) -> None:
    policy, rng = POLICIES[name](), Random(2)
    fleet = [node(order, max_sessions=5) for order in range(3)]
    for _ in range(15):
        chosen = policy.pick(fleet, 7400, rng)
        assert chosen.fits(7400)
        chosen.sessions += 1
    assert [entry.sessions for entry in fleet] == [5, 5, 5]


def test_least_loaded_compares_the_load_after_placement() -> None:
    small, large = node(0, sessions=0, max_sessions=1), node(1, sessions=5, max_sessions=10)
    assert LeastLoaded().pick([small, large], 7400, Random(0)) is large


@given(fleet=fleets(), power_w=st.integers(1, 150_000))
def test_least_loaded_is_the_minimum(fleet: list[Node], power_w: int) -> None:
    chosen = LeastLoaded().pick(fleet, power_w, Random(0))
    peers = [entry for entry in fleet if (entry.fits(power_w), entry.rank) == (chosen.fits(power_w), chosen.rank)]
    assert chosen.load_after(power_w) == min(entry.load_after(power_w) for entry in peers)


def test_round_robin_goes_round_even_when_one_is_left_out() -> None:
    policy, rng = RoundRobin(), Random(0)
    fleet = [node(order) for order in range(3)]
    assert [policy.pick(fleet, 1, rng).order for _ in range(4)] == [0, 1, 2, 0]
    assert policy.pick([fleet[0], fleet[2]], 1, rng).order == 2
    assert policy.pick(fleet, 1, rng).order == 0


def test_load_is_the_larger_ratio() -> None:
    entry = Node("substation1", 0, max_sessions=10, capacity_w=74_000, sessions=2, load_w=37_000)
    assert entry.load == 0.5
    assert entry.load_after(37_000) == 1.0
    assert entry.fits(37_000)
    assert not entry.fits(37_001)
