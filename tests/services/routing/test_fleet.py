"""The index against a look at every node, whatever happened before."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.routing.demand import KEPT, SHARE, WINDOW, Demand
from services.routing.fleet import MOST_INDEXES, Fleet, Want
from services.routing.index import Index
from services.routing.node import FRESH, STALE, SUSPECT, Node
from services.routing.scores import SCORES, FewestHolesLost, Score, best_fit, least_loaded, tier

POWERS_W = (7_400, 22_000, 150_000)
SCORES_USED: tuple[Score, ...] = (tier, least_loaded, best_fit, FewestHolesLost(150_000), FewestHolesLost(22_000))
ranks = st.sampled_from([FRESH, FRESH, STALE, SUSPECT])


def least(fleet: Fleet, want: Want, score: Score) -> set[int]:
    """The nodes that a look at every one finds best."""
    scores = {node.order: score(node, want.power_w) for node in fleet if want.allows(node)}
    return {order for order, its in scores.items() if its == min(scores.values())}


class Operations(RuleBasedStateMachine):
    """Sessions begin and end, substations come, go, change and fail; at any time anybody may choose by any score."""

    @initialize(limited=st.booleans(), count=st.integers(0, 8))
    def begin(self, limited: bool, count: int) -> None:
        self.rng = Random(0)
        self.fleet = Fleet()
        self.made = 0
        for power_w in POWERS_W:
            self.fleet.demand.see(power_w)
        for _ in range(count):
            self.come(500_000 if limited else None, 30)

    @rule(capacity_w=st.none() | st.sampled_from([74_000, 500_000]), max_sessions=st.integers(0, 40))
    def come(self, capacity_w: int | None, max_sessions: int) -> None:
        self.fleet.add(Node(f"s{self.made}", self.made, max_sessions, capacity_w))
        self.made += 1

    @rule(which=st.integers(0, 20))
    def go(self, which: int) -> None:
        if len(self.fleet):
            self.fleet.remove(self.one(which))

    @rule(which=st.integers(0, 20), power_w=st.sampled_from(POWERS_W), sessions=st.integers(-3, 5))
    def load(self, which: int, power_w: int, sessions: int) -> None:
        if len(self.fleet):
            node = self.one(which)
            node.sessions = max(0, node.sessions + sessions)
            node.load_w = max(0, node.load_w + sessions * power_w)
            self.fleet.touch(node)

    @rule(which=st.integers(0, 20), rank=ranks, is_open=st.booleans())
    def fail(self, which: int, rank: int, is_open: bool) -> None:
        if len(self.fleet):
            node = self.one(which)
            node.rank, node.open = rank, is_open
            self.fleet.touch(node)

    @rule(which=st.integers(0, 20), capacity_w=st.none() | st.integers(0, 600_000), max_sessions=st.integers(0, 40))
    def derate(self, which: int, capacity_w: int | None, max_sessions: int) -> None:
        if len(self.fleet):
            node = self.one(which)
            node.capacity_w, node.max_sessions = capacity_w, max_sessions
            self.fleet.touch(node)

    @rule(
        power_w=st.sampled_from(POWERS_W),
        score=st.sampled_from(SCORES_USED),
        tried=st.sets(st.integers(0, 20), max_size=4),
        barred=st.sets(st.integers(0, 20), max_size=4),
    )
    def choose(self, power_w: int, score: Score, tried: set[int], barred: set[int]) -> None:
        want = Want(power_w, {f"s{order}" for order in tried}, lambda node: node.order not in barred)
        chosen = self.fleet.best(want, score, self.rng)
        if chosen is None:
            assert not least(self.fleet, want, score)
        else:
            assert chosen.order in least(self.fleet, want, score)
            chosen.sessions += 1
            chosen.load_w += power_w
            self.fleet.touch(chosen)
            beside = self.fleet.beside(want, 4)
            assert len(beside) <= 4
            assert all(want.allows(node) for node in beside)

    @invariant()
    def counts(self) -> None:
        assert self.fleet.open == sum(node.open for node in self.fleet)
        assert [node.order for node in self.fleet.after(-1)] == sorted(node.order for node in self.fleet)

    def one(self, which: int) -> Node:
        nodes = list(self.fleet)
        return nodes[which % len(nodes)]


TestOperations = Operations.TestCase
TestOperations.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(steps=st.lists(st.tuples(st.integers(0, 30), st.none() | st.integers(0, SCORES - 1)), max_size=80))
def test_an_index_holds_each_where_it_was_put_last(steps: list[tuple[int, int | None]]) -> None:
    index, expected = Index(), dict[int, int]()
    for order, score in steps:
        node = Node(f"s{order}", order, 1)
        if score is None:
            index.drop(node)
            expected.pop(order, None)
        else:
            index.put(node, score)
            expected[order] = score
        buckets = [{node.order for node in bucket} for bucket in index.buckets()]
        scores = sorted(set(expected.values()))
        assert buckets == [{order for order, its in expected.items() if its == score} for score in scores]
        assert {node.order for node in index.best()} == (buckets[0] if buckets else set())
        assert len(index) == len(expected)


@given(powers=st.lists(st.integers(1, 400_000), min_size=1, max_size=150), seed=st.integers(0, 9))
@settings(max_examples=30)
def test_any_number_of_powers_finds_room_where_there_is_some(powers: list[int], seed: int) -> None:
    rng, fleet = Random(seed), Fleet(Node(f"s{order}", order, 1000, 500_000) for order in range(8))
    for power_w in powers:
        fleet.demand.see(power_w)
        node = fleet.best(Want(power_w), least_loaded, rng)
        assert node is not None
        assert node.fits(power_w) or not any(other.fits(power_w) for other in fleet)
        if node.fits(power_w):
            node.sessions, node.load_w = node.sessions + 1, node.load_w + power_w
            fleet.touch(node)


def test_a_choice_looks_at_what_changed_only() -> None:
    nodes = [Node(f"s{order}", order, 10) for order in range(1000)]
    fleet, seen = Fleet(nodes), list[int]()

    def score(node: Node, power_w: int) -> int:
        seen.append(node.order)
        return least_loaded(node, power_w)

    for _ in range(20):
        node = fleet.best(Want(7_400), score, Random(1))
        assert node is not None
        node.sessions += 1
        fleet.touch(node)
    assert len(seen) == 1000 + 19


def test_few_indexes_are_kept() -> None:
    fleet = Fleet([Node("s0", 0, 10, 500_000)])
    for shift in range(60):
        assert fleet.best(Want(1 << shift), tier, Random(0)) is not None
    assert len(fleet._kept) == MOST_INDEXES


def test_a_power_is_common_from_one_in_a_hundred_and_until_one_in_two_hundred() -> None:
    demand = Demand()
    demand.see(150_000)
    assert (demand.common, demand.largest_w) == ({150_000}, 150_000)
    for _ in range(299):
        demand.see(7_400)
    assert demand.largest_w == 7_400  # it was one of 300
    for _ in range(WINDOW):
        demand.see(7_400)
    for _ in range(9):
        demand.see(22_000)
    assert demand.common == {7_400}
    demand.see(22_000)
    assert (demand.common, demand.largest_w) == ({7_400, 22_000}, 22_000)
    for _ in range(WINDOW - 10):
        demand.see(7_400)
    for left in range(10, 0, -1):
        assert (demand.largest_w == 22_000) is (left >= 5)
        demand.see(7_400)


@given(
    runs=st.lists(
        st.tuples(st.sampled_from([3_000, 7_400, 11_000, 22_000, 50_000]), st.integers(1, WINDOW // 2)), max_size=12
    )
)
def test_what_is_counted_is_what_was_asked_for_lately(runs: list[tuple[int, int]]) -> None:
    demand, asked = Demand(), [power_w for power_w, times in runs for _ in range(times)]
    for power_w in asked:
        demand.see(power_w)
    last = Counter(asked[-WINDOW:])
    count = last.total()
    assert demand.common >= {power_w for power_w, times in last.items() if times >= SHARE * count}
    rare = KEPT * SHARE * (count if count == WINDOW else count - 100)  # fewer are looked through once in a hundred
    assert all(last[power_w] >= rare for power_w in demand.common)
    assert demand.largest_w == max(demand.common, default=0)
