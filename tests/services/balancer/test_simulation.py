"""The simulated grid against what is known of such grids: perfect information, Erlang-B, the naive rule's herd."""

from __future__ import annotations

from random import Random

import pytest

from config.policies import SHIPPED
from services.balancer.simulation import Outcome, Simulation, Site
from services.routing import registry
from services.routing.reference import Arrival, blocked_pooled, erlang_b

SESSION_S = 30.0
SLOTS = 10
POWER_W = 7_400


def poisson(substations: int, load: float, count: int, seed: int) -> list[Arrival]:
    rng, now_s, arrivals = Random(seed), 0.0, []
    for _ in range(count):
        now_s += rng.expovariate(load * SLOTS * substations / SESSION_S)
        arrivals.append(Arrival(now_s, SESSION_S, POWER_W))
    return arrivals


def simulate(policy: str, substations: int, arrivals: list[Arrival], **more: float) -> Outcome:
    sites = [Site(SLOTS, hard_limit=bool(more.pop("hard_limit", True)))] * substations
    poll_interval_s = more.pop("poll_interval_s", 5.0)
    return Simulation(sites, registry.make(policy), poll_interval_s, seed=1, since_s=60.0).run(arrivals)


@pytest.mark.parametrize("policy", sorted(set(SHIPPED) - {"least-loaded-stale"}))
def test_with_hard_limits_every_rule_that_tries_on_blocks_what_one_pool_would(policy: str) -> None:
    arrivals = poisson(3, 0.8, 6_000, seed=1)
    pooled = blocked_pooled(arrivals, 3 * SLOTS, since_s=60.0)
    outcome = simulate(policy, 3, arrivals)
    assert pooled is not None
    assert outcome.blocked_share == pytest.approx(pooled, abs=0.001)
    assert outcome.blocked_share == pytest.approx(erlang_b(0.8 * 3 * SLOTS, 3 * SLOTS), abs=0.01)
    assert (outcome.excess, outcome.overloads) == (0, 0)
    assert outcome.peak_load == 1


def test_the_naive_rule_herds() -> None:
    # simulated apart from this code, for 100 substations at 80 %: peak 17.8 times the capacity, 92.5 % of arrivals overload
    arrivals = poisson(100, 0.8, 6_000, seed=3)
    naive = simulate("least-loaded-stale", 100, arrivals, hard_limit=False)
    assert 12 < naive.peak_load < 22
    assert 0.85 < naive.overloads < 0.97
    assert 0.8 < naive.excess < 0.95
    limited = simulate("least-loaded-stale", 100, arrivals)
    assert limited.attempts == 1
    assert limited.blocked_share > 0.8
    ledger = simulate("ledger", 100, arrivals, hard_limit=False)
    assert (ledger.excess, ledger.overloads) == (0, 0)


def test_the_same_seed_gives_the_same_figures() -> None:
    arrivals = poisson(3, 0.9, 500, seed=4)
    for policy in SHIPPED:
        assert simulate(policy, 3, arrivals) == simulate(policy, 3, arrivals)
