"""A ledger that looks only at accounts where something is due, against one that looks at all of them all the time."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from config.report import Report, Step
from services.balancer.account import Account
from services.balancer.ledger import Ledger
from services.balancer.targets import Target
from services.routing import registry
from services.routing.policies import POLICIES

POWER_W = 7_400
NAMES = [f"substation{number}" for number in range(5)]
names = st.sampled_from(NAMES)
ids = st.sampled_from(["r1", "r2", "r3"])


def target(name: str, external: bool = False, draining: bool = False) -> Target:
    return Target(name, f"http://{name}", external=external, draining=draining, max_sessions=5)


class TwoLedgers(RuleBasedStateMachine):
    """Whatever happens is told to both; `eager` looks at every account after every step, `lazy` when it is asked."""

    @initialize(external=st.sets(names, max_size=2))
    def begin(self, external: set[str]) -> None:
        self.lazy, self.eager = Ledger(POWER_W), Ledger(POWER_W)
        self.external = external
        self.now_s = 0.0
        self.seq = 0
        self.discover(set(NAMES), set())

    @rule(there=st.sets(names, min_size=3), draining=st.sets(names, max_size=2))
    def discover(self, there: set[str], draining: set[str]) -> None:
        for ledger in (self.lazy, self.eager):
            ledger.update(target(name, name in self.external, name in draining) for name in sorted(there))

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.25, 1.0, 5.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(name=names, request_id=ids)
    def send(self, name: str, request_id: str) -> None:
        for account in self.both(name):
            account.assume(request_id, POWER_W, self.now_s)

    @rule(name=names, request_id=ids, lasting_s=st.sampled_from([0.1, 1.0, 30.0]))
    def accepted(self, name: str, request_id: str, lasting_s: float) -> None:
        for account in self.both(name):
            account.confirm(request_id, self.now_s + lasting_s, self.now_s)
            account.trust()
            account.forget(request_id)

    @rule(name=names, request_id=ids)
    def unknown(self, name: str, request_id: str) -> None:
        for account in self.both(name):
            account.doubt(request_id, self.now_s)
            account.suspect(self.now_s, self.now_s)

    @rule(name=names)
    def miss(self, name: str) -> None:
        for account in self.both(name):
            account.miss_poll()

    @rule(
        name=names,
        epoch=st.integers(1, 3),
        ends=st.lists(st.sampled_from([0.0, 0.2, 1.0, 3.0, 30.0]), max_size=6).map(sorted),
        polled=st.booleans(),
        draining=st.booleans(),
    )
    def hear(self, name: str, epoch: int, ends: list[float], polled: bool, draining: bool) -> None:
        self.seq += 1
        steps = tuple(Step(in_s, 1, POWER_W) for in_s in ends)
        load_w = len(ends) * POWER_W
        report = Report(epoch, self.seq, len(ends), load_w, 5, ends=steps, draining=draining)
        for account in self.both(name):
            if name in self.external:
                account.fold_gauge(len(ends), self.now_s, self.now_s)
            else:
                account.fold(report, self.now_s, self.now_s, polled)

    @rule(
        policy=st.sampled_from(sorted(POLICIES)),
        tried=st.sets(names, max_size=3),
        power_w=st.sampled_from([1, POWER_W]),
    )
    def pick(self, policy: str, tried: set[str], power_w: int) -> None:
        chosen = self.lazy.pick(registry.make(policy), power_w, power_w, self.now_s, tried, Random(1))
        allowed = {node.name for node in self.eager.candidates(power_w, power_w, self.now_s, tried)}
        if not POLICIES[policy].blind:
            assert (chosen is None) == (not allowed)
            assert chosen is None or chosen.name in allowed

    @invariant()
    def both_believe_the_same(self) -> None:
        self.lazy.advance(self.now_s)
        for account in self.eager:
            account.advance(self.now_s)
        for lazy, eager in zip(self.lazy, self.eager, strict=True):
            assert figures(lazy) == figures(eager)
            assert lazy.due_s > self.now_s
        assert self.lazy.totals(self.now_s) == self.eager.totals(self.now_s)
        assert self.lazy.open == sum(account.node.open for account in self.lazy)

    def both(self, name: str) -> list[Account]:
        return [account for ledger in (self.lazy, self.eager) if (account := ledger.get(name)) is not None]


def figures(account: Account) -> tuple[object, ...]:
    node = account.node
    return node.name, node.sessions, node.load_w, node.max_sessions, node.capacity_w, node.rank, node.open


TestTwoLedgers = TwoLedgers.TestCase
TestTwoLedgers.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_only_the_naive_rule_asks_who_is_known_to_be_full(policy: str) -> None:
    ledger = Ledger(POWER_W)
    ledger.update([target("substation1")])
    (account,) = ledger
    account.fold(Report(1, 1, 5, 5 * POWER_W, 5, ends=(Step(30.0, 5, 5 * POWER_W),)), 0.0, 0.0, polled=True)
    chosen = ledger.pick(registry.make(policy), POWER_W, POWER_W, 0.01, (), Random(0))
    assert (chosen is not None) is (policy == "least-loaded-stale")


def test_a_substation_that_left_is_not_chosen_and_its_ends_are_not_waited_for() -> None:
    ledger = Ledger(POWER_W)
    ledger.update([target("substation1"), target("substation2")])
    left = ledger.get("substation1")
    assert left is not None
    left.fold(Report(1, 1, 1, POWER_W, 5, ends=(Step(1.0, 1, POWER_W),)), 0.0, 0.0)
    ledger.update([target("substation2")])
    left.miss_poll()
    ledger.advance(2.0)
    assert left.node.sessions == 1
    chosen = ledger.pick(registry.make("ledger"), POWER_W, POWER_W, 2.0, (), Random(0))
    assert chosen is not None
    assert chosen.name == "substation2"
    assert [node.name for node in ledger.beside(POWER_W, ())] == ["substation2"]
