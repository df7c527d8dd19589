"""Revocations reach a substation that comes back, and end with one that left."""

from __future__ import annotations

import pytest

from config.report import Report
from services.balancer.ledger import Ledger
from services.balancer.line import HttpLine, Silent
from services.balancer.revocations import MOST_PER_SUBSTATION, Revocations
from services.balancer.targets import Target
from tests.services.grid import until


class Deaf(HttpLine):
    """Hears a revocation only after `silences` ones were lost."""

    def __init__(self, silences: int) -> None:
        self.silences = silences
        self.heard: list[tuple[str, str, int]] = []

    async def revoke(self, target: Target, request_id: str, attempt: int, timeout_s: float) -> Report | None:
        if self.silences:
            self.silences -= 1
            raise Silent("nobody there")
        self.heard.append((target.name, request_id, attempt))
        return Report(1, 1, 0, 0, 10)


def _ledger(*names: str) -> Ledger:
    ledger = Ledger(7_400)
    ledger.update(Target(name, f"http://{name}") for name in names)
    return ledger


async def test_it_is_told_until_it_hears_and_only_the_highest_attempt() -> None:
    line, ledger = Deaf(silences=3), _ledger("s1", "s2")
    revocations = Revocations(line, ledger, lambda: 0.0, retry_s=0.0)
    revocations.add("s1", "r1", 1)
    revocations.add("s1", "r1", 3)
    revocations.add("s1", "r1", 2)
    revocations.add("s2", "r2", 1)
    assert len(revocations) == 2
    await until(lambda: not len(revocations))
    assert sorted(line.heard) == [("s1", "r1", 3), ("s2", "r2", 1)]
    account = ledger.get("s1")
    assert account is not None
    assert account.report is not None, "the report that comes with the answer is believed"


async def test_one_that_left_is_not_told_any_more(caplog: pytest.LogCaptureFixture) -> None:
    line, ledger = Deaf(silences=10**9), _ledger("s1")
    revocations = Revocations(line, ledger, lambda: 0.0, retry_s=0.0)
    revocations.add("s1", "r1", 1)
    ledger.update(())
    await until(lambda: not len(revocations))
    assert "left with revocations open" in caplog.text


async def test_they_are_bounded_and_stop_in_the_middle() -> None:
    revocations = Revocations(Deaf(silences=10**9), _ledger("s1"), lambda: 0.0)
    for number in range(MOST_PER_SUBSTATION + 5):
        revocations.add("s1", f"r{number}", 1)
    assert len(revocations) == MOST_PER_SUBSTATION
    await revocations.stop()
