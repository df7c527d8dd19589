"""The grid's health: overloaded is only what really is."""

from __future__ import annotations

import pytest

from config.report import Report, Step
from services.balancer.ledger import Ledger
from services.balancer.status import health
from services.balancer.targets import Target

POWER_W = 7_400


def grid(sessions: int, capacity_w: int | None = None) -> Ledger:
    """Two substations of ten; at the first so many are reported."""
    ledger = Ledger(POWER_W)
    ledger.update([Target("s0", "http://s0", max_sessions=10), Target("s1", "http://s1", max_sessions=10)])
    load_w = sessions * POWER_W
    ends = (Step(1e6, sessions, load_w),) if sessions else ()
    for account, told in zip(
        ledger, (Report(1, 1, sessions, load_w, 10, capacity_w, ends), Report(1, 1, 0, 0, 10)), strict=True
    ):
        account.fold(told, 0.0, 0.0)
    return ledger


@pytest.mark.parametrize(
    ("sessions", "capacity_w", "expected"),
    [
        (10, None, "ok"),
        (11, None, "overloaded"),  # the limit is not a hard one, or was lowered
        (5, 5 * POWER_W, "ok"),
        (6, 5 * POWER_W, "overloaded"),
    ],
)
def test_overloaded_is_who_reports_more_than_its_limit(sessions: int, capacity_w: int | None, expected: str) -> None:
    assert health(grid(sessions, capacity_w), 0.0) == expected


def test_asking_a_full_one_overloads_nobody() -> None:
    ledger = grid(10, 10 * POWER_W)
    full = next(iter(ledger))
    full.assume("r1", POWER_W, 0.0)
    assert full.node.load > 1
    assert health(ledger, 0.0) == "ok"


def test_strained_is_a_grid_with_little_left() -> None:
    ledger = grid(10)
    for number in range(6):
        list(ledger)[1].assume(f"r{number}", POWER_W, 0.0)
    assert health(ledger, 0.0) == "strained"
