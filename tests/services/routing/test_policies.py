"""One conformance suite over every policy, then what each promises of its own."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.routing import registry
from services.routing.fleet import Fleet, Want
from services.routing.guard import Guarded
from services.routing.node import FRESH, STALE, SUSPECT, Node
from services.routing.policies import POLICIES, LeastLoadedStale, RoundRobin
from services.routing.policy import Policy
from services.routing.scores import UNIT


def make(name: str) -> Policy:
    """The policy itself: what a guard would forgive a plug-in is a failure here."""
    policy = registry.make(name)
    return policy.policy if isinstance(policy, Guarded) else policy


#: Also those of plug-ins, where some are installed.
ALL = sorted(entry.name for entry in registry.entries() if entry.error is None)
every_policy = pytest.mark.parametrize("name", ALL)
#: Those that follow the ledger's estimate.
LEDGERS = [name for name in ALL if not make(name).blind]
every_ledger_policy = pytest.mark.parametrize("name", LEDGERS)
#: Those that put equal loads on equal nodes.
EVEN = sorted(set(LEDGERS) & set(POLICIES) - {"best-fit"})


def node(order: int, sessions: int = 0, max_sessions: int = 10, rank: int = FRESH) -> Node:
    return Node(f"substation{order}", order, max_sessions, None, sessions, sessions * 7400, rank)


@st.composite
def nodes(draw: st.DrawFn, least: int = 1) -> list[Node]:
    return [
        Node(
            name=f"substation{order}",
            order=order,
            max_sessions=draw(st.integers(1, 20)),
            capacity_w=draw(st.none() | st.integers(1, 200_000)),
            sessions=draw(st.integers(0, 25)),
            load_w=draw(st.integers(0, 250_000)),
            rank=draw(st.sampled_from([FRESH, STALE, SUSPECT])),
            open=draw(st.booleans()),
            polled_sessions=draw(st.integers(0, 25)),
            polled_load_w=draw(st.integers(0, 250_000)),
        )
        for order in range(draw(st.integers(least, 12)))
    ]


wants = st.builds(
    lambda power_w, tried, barred: Want(
        power_w, {f"substation{order}" for order in tried}, lambda node: node.order not in barred
    ),
    st.integers(1, 150_000) | st.sampled_from([7400, 22_000, 150_000]),
    st.sets(st.integers(0, 11), max_size=6),
    st.sets(st.integers(0, 11), max_size=6),
)


def place_of(entry: Node, want: Want) -> tuple[bool, int]:
    return (not entry.fits(want.power_w), entry.rank)


@every_policy
@given(entries=nodes(least=0), want=wants, seen=st.booleans(), seed=st.integers(0, 99))
def test_never_picks_who_must_not_be_asked(name: str, entries: list[Node], want: Want, seen: bool, seed: int) -> None:
    fleet = Fleet(entries)
    if seen:
        fleet.demand.see(want.power_w)
    chosen = make(name).pick(fleet, want, Random(seed))
    allowed = [entry for entry in entries if want.allows(entry)]
    assert (chosen in allowed) if allowed else (chosen is None)


@every_ledger_policy
@given(entries=nodes(), want=wants, seen=st.booleans(), seed=st.integers(0, 99))
def test_picks_from_the_best_class(name: str, entries: list[Node], want: Want, seen: bool, seed: int) -> None:
    fleet = Fleet(entries)
    if seen:
        fleet.demand.see(want.power_w)
    chosen = make(name).pick(fleet, want, Random(seed))
    if chosen is not None:
        assert place_of(chosen, want) == min(place_of(entry, want) for entry in entries if want.allows(entry))


@every_policy
@given(entries=nodes(), steps=st.lists(st.tuples(wants, st.booleans()), max_size=8), seed=st.integers(0, 99))
def test_the_same_seed_gives_the_same_choices(
    name: str, entries: list[Node], steps: list[tuple[Want, bool]], seed: int
) -> None:
    def choices() -> list[int | None]:
        for entry in entries:
            entry.sessions = 0
        policy, rng, fleet = make(name), Random(seed), Fleet(entries)
        made: list[int | None] = []
        for want, counted in steps:
            if counted:
                fleet.demand.see(want.power_w)
            chosen = policy.pick(fleet, want, rng)
            made.append(None if chosen is None else chosen.order)
            if chosen is not None:
                chosen.sessions += 1
                fleet.touch(chosen)
        return made

    assert choices() == choices()


@pytest.mark.parametrize("name", EVEN)
def test_spreads_over_equal_nodes(name: str) -> None:
    policy, rng, fleet = make(name), Random(1), Fleet(node(order) for order in range(4))
    counts = Counter(picked(policy.pick(fleet, Want(7400), rng)).order for _ in range(400))
    assert set(counts) == {0, 1, 2, 3}
    assert min(counts.values()) > 60


@pytest.mark.parametrize("name", sorted(set(LEDGERS) - {"round-robin"}))
@pytest.mark.parametrize("tried", [frozenset(), frozenset(f"substation{order}" for order in range(3, 12))])
def test_ties_go_to_each_with_equal_chances(name: str, tried: frozenset[str]) -> None:
    # chi-square with 2 or 11 degrees of freedom, at 0.1 %
    policy, rng, fleet = make(name), Random(5), Fleet(node(order, 3) for order in range(12))
    counts = Counter(picked(policy.pick(fleet, Want(7400, tried), rng)).order for _ in range(6000))
    expected = 6000 / (12 - len(tried))
    chi_square = sum((counts[order] - expected) ** 2 / expected for order in range(12 - len(tried)))
    assert chi_square < (13.8 if tried else 31.3)


@every_ledger_policy
def test_fills_every_slot_before_it_names_a_full_node(name: str) -> None:
    policy, rng, entries = make(name), Random(2), [node(order, max_sessions=5) for order in range(3)]
    fleet = Fleet(entries)
    for _ in range(15):
        chosen = picked(policy.pick(fleet, Want(7400), rng))
        assert chosen.fits(7400)
        chosen.sessions += 1
        fleet.touch(chosen)
    assert [entry.sessions for entry in entries] == [5, 5, 5]


@every_policy
def test_says_in_one_sentence_what_it_does(name: str) -> None:
    summary = make(name).summary
    assert summary.endswith(".")
    assert 8 < len(summary) < 120


def picked(chosen: Node | None) -> Node:
    assert chosen is not None
    return chosen


@pytest.mark.parametrize("name", ["ledger", "least-loaded"])
def test_the_load_after_placement_is_compared(name: str) -> None:
    small, large = node(0, sessions=0, max_sessions=1), node(1, sessions=5, max_sessions=10)
    assert make(name).pick(Fleet([small, large]), Want(7400), Random(0)) is large


@given(entries=nodes(), want=wants)
def test_least_loaded_is_the_minimum(entries: list[Node], want: Want) -> None:
    fleet = Fleet(entries)
    fleet.demand.see(want.power_w)
    chosen = POLICIES["least-loaded"]().pick(fleet, want, Random(0))
    peers = [entry for entry in entries if want.allows(entry)]
    if chosen is not None and chosen.load_after(want.power_w) < 2:
        peers = [entry for entry in peers if place_of(entry, want) == place_of(chosen, want)]
        least = min(entry.load_after(want.power_w) for entry in peers)
        assert chosen.load_after(want.power_w) == pytest.approx(least, abs=1 / UNIT)


def test_ledger_takes_a_place_that_is_no_big_one_before_it_breaks_one() -> None:
    # 500 kW: 350 kW free is two big places and 50 kW; 310 kW free is two and 10; 500 kW is three and 50
    broken, tight, empty = (
        Node(f"substation{order}", order, 1000, 500_000, 1, 500_000 - free_w)
        for order, free_w in enumerate([350_000, 310_000, 500_000])
    )
    fleet = Fleet([broken, tight, empty])
    policy, rng = POLICIES["ledger"](), Random(0)
    for power_w in (22_000, 150_000):
        fleet.demand.see(power_w)
    assert policy.pick(fleet, Want(22_000), rng) is empty
    assert policy.pick(fleet, Want(22_000, {"substation2"}), rng) is broken
    assert policy.pick(fleet, Want(22_000, {"substation0", "substation2"}), rng) is tight
    empty.load_w = 10_000 + 450_000
    fleet.touch(empty)
    assert policy.pick(fleet, Want(22_000), rng) is broken
    assert policy.pick(fleet, Want(150_000), rng) is broken
    fresh = Fleet([broken, tight])  # nothing big was ever asked for: plain least-loaded
    assert POLICIES["ledger"]().pick(fresh, Want(22_000), rng) is broken


def test_best_fit_is_the_fullest_that_has_room() -> None:
    entries = [node(0, 3), node(1, 9), node(2, 10), node(3, 8)]
    policy, fleet = POLICIES["best-fit"](), Fleet(entries)
    assert policy.pick(fleet, Want(7400), Random(0)) is entries[1]
    for entry in entries:
        entry.sessions += 10
        fleet.touch(entry)
    assert policy.pick(fleet, Want(7400), Random(0)) is entries[0]


def test_power_of_two_prefers_the_emptier_and_uses_all_but_the_fullest() -> None:
    policy, rng, fleet = POLICIES["power-of-two"](), Random(3), Fleet(node(order, order) for order in range(4))
    counts = Counter(picked(policy.pick(fleet, Want(7400), rng)).order for _ in range(3000))
    assert counts[0] > counts[1] > counts[2] > counts[3]
    # two draws of four, the second once more where it is the first: the fullest only by 1/4 · 1/4 · 1/4
    assert counts[3] == pytest.approx(3000 / 64, rel=0.4)


def test_the_naive_rule_believes_the_last_poll_alone_and_takes_the_first() -> None:
    entries = [node(0, 9), node(1, 0), node(2, 0)]
    entries[1].polled_sessions = 1
    policy = LeastLoadedStale()
    assert policy.pick(Fleet(entries), Want(7400), Random(0)) is entries[0]
    assert policy.pick(Fleet(entries[1:]), Want(7400), Random(0)) is entries[2]
    assert (policy.tries, policy.blind) == (1, True)


def test_round_robin_goes_round_even_when_one_is_left_out() -> None:
    policy, rng, fleet = RoundRobin(), Random(0), Fleet(node(order) for order in range(3))

    def turns(count: int, tried: frozenset[str] = frozenset()) -> list[int]:
        return [picked(policy.pick(fleet, Want(1, tried), rng)).order for _ in range(count)]

    assert turns(4) == [0, 1, 2, 0]
    assert turns(1, frozenset({"substation1"})) == [2]
    assert turns(1) == [0]


def test_round_robin_goes_round_among_the_full_too() -> None:
    policy, rng, fleet = RoundRobin(), Random(0), Fleet(node(order, 10) for order in range(3))
    assert [picked(policy.pick(fleet, Want(1), rng)).order for _ in range(4)] == [0, 1, 2, 0]


def test_load_is_the_larger_ratio() -> None:
    entry = Node("substation1", 0, max_sessions=10, capacity_w=74_000, sessions=2, load_w=37_000)
    assert entry.load == 0.5
    assert entry.load_after(37_000) == 1.0
    assert entry.fits(37_000)
    assert not entry.fits(37_001)
