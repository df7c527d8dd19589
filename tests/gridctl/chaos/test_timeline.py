"""A timeline is a pure function of its seed, and every step can happen."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gridctl.chaos.timeline import BY_SIGNAL, KINDS, LASTING, SHARED, Step, Target, timeline

CITY = (
    Target("charge-request", "charge-request"),
    Target("balancer", "balancer"),
    *(Target(f"substation{number}", "substation") for number in range(1, 21)),
    Target("zygote", "zygote"),
    Target("supervisor", "supervisor"),
)
LAUNCHERS = CITY[-2:]


@settings(deadline=None)
@given(
    seed=st.integers(),
    kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, unique=True),
    targets=st.lists(st.sampled_from(CITY), min_size=1, unique=True),
    duration_s=st.floats(0.1, 200),
    every_s=st.floats(0.5, 60),
)
def test_every_step_can_happen_to_whom_it_names_within_the_time(
    seed: int, kinds: list[str], targets: list[Target], duration_s: float, every_s: float
) -> None:
    steps = timeline(seed, kinds, targets, duration_s, every_s)
    assert steps == timeline(seed, kinds, targets, duration_s, every_s)
    by_name = {target.name: target for target in targets}
    for step in steps:
        assert step.at_s > 0
        assert step.at_s + step.for_s <= duration_s + 1e-5
        assert step.kind in kinds
        assert step.kind in BY_SIGNAL or by_name[step.target].is_service
        assert (step.for_s > 0) is (step.kind in LASTING)
        assert (step.pct > 0) is (step.kind in SHARED)
        assert (step.by_s > 0) is (step.kind == "delay")
    for sooner, later in pairwise(steps):
        assert abs(later.at_s - sooner.at_s - every_s) < 1e-5


def test_the_plan_of_a_seed_never_changes() -> None:
    steps = timeline(7, list(KINDS), CITY, 10.0, 2.0)
    assert [step.at_s for step in steps] == [2.0, 4.0, 6.0, 8.0]
    assert timeline(8, list(KINDS), CITY, 10.0, 2.0) != steps


def test_every_kind_meets_every_role_it_can() -> None:
    steps = timeline(1, list(KINDS), CITY, 10_000.0, 2.0)
    roles = {target.name: target.role for target in CITY}
    met = Counter((step.kind, roles[step.target]) for step in steps)
    services = {"charge-request", "balancer", "substation"}
    assert set(met) == {
        (kind, role) for kind in KINDS for role in services | ({"zygote", "supervisor"} if kind in BY_SIGNAL else set())
    }
    kinds = Counter(step.kind for step in steps)
    assert min(kinds.values()) > 0.8 * len(steps) / len(KINDS)
    # by role first: twenty substations do not keep the one balancer out of it
    assert met["kill", "balancer"] > 0.1 * kinds["kill"]


def test_what_can_happen_to_nobody_is_no_step() -> None:
    assert timeline(1, ["drop", "restart"], LAUNCHERS, 60.0, 2.0) == ()
    assert timeline(1, list(KINDS), (), 60.0, 2.0) == ()
    assert {step.kind for step in timeline(1, ["drop", "kill"], LAUNCHERS, 60.0, 2.0)} == {"kill"}


def test_a_step_says_itself_in_words() -> None:
    assert Step(1.0, "kill", "zygote").words == "kill zygote"
    assert Step(1.0, "pause", "substation2", 3.0).words == "pause substation2 for 3 s"
    assert Step(1.0, "drop", "balancer", 3.0, pct=2.0).words == "drop balancer 2 % for 3 s"
    assert Step(1.0, "delay", "balancer", 0.5, by_s=2.0).words == "delay balancer 2 s for 0.5 s"
