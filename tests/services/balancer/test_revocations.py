"""Revocations reach a substation that comes back, and end with one that left."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.report import Report
from services.balancer.journal import Attempt, BalancerJournal, read
from services.balancer.ledger import Ledger
from services.balancer.line import HttpLine, Silent
from services.balancer.revocations import Revocations
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


async def test_one_that_left_is_told_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    line, ledger = Deaf(silences=2), _ledger("s1")
    revocations = Revocations(line, ledger, lambda: 0.0, retry_s=0.0)
    revocations.add("s1", "r1", 1)
    ledger.update(())
    await until(lambda: "left with revocations open" in caplog.text)
    assert len(revocations) == 1
    ledger.update([Target("s1", "http://s1")])
    revocations.deliver(["s1", "s2"])
    await until(lambda: not len(revocations))
    assert line.heard == [("s1", "r1", 1)]


async def test_many_are_told_at_once_and_it_stops_in_the_middle() -> None:
    revocations = Revocations(Deaf(silences=10**9), _ledger("s1"), lambda: 0.0)
    for number in range(1_000):
        revocations.add("s1", f"r{number}", 1)
    assert len(revocations) == 1_000
    await revocations.stop()
    line = Deaf(silences=0)
    revocations = Revocations(line, _ledger("s1"), lambda: 0.0)
    for number in range(1_000):
        revocations.add("s1", f"r{number}", 1)
    await until(lambda: len(line.heard) == 1_000)


async def test_what_was_not_acknowledged_is_told_after_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "balancer.db")
    journal = BalancerJournal(path, "process", lambda: 5.0)
    revocations = Revocations(Deaf(silences=10**9), _ledger("s1"), lambda: 0.0, journal=journal)
    revocations.add("s1", "r1", 1)
    revocations.add("s1", "r1", 2)
    revocations.add("s2", "r2", 1)
    await revocations.survive()
    await revocations.stop()
    await journal.close()

    journal = BalancerJournal(path, "process", lambda: 9.0)
    left = (await journal.load()).attempts
    assert left == (Attempt("s1", "r1", 2, 5.0, 5.0), Attempt("s2", "r2", 1, 5.0, 5.0))
    line = Deaf(silences=0)
    revocations = Revocations(line, _ledger("s1"), lambda: 0.0, journal=journal)
    revocations.resume(left)
    revocations.deliver(["s1"])
    await until(lambda: line.heard == [("s1", "r1", 2)])
    assert len(revocations) == 1, "s2 is not known"
    await journal.close()
    assert read(Path(path)).attempts == (Attempt("s1", "r1", 2, 5.0, 5.0, 9.0), Attempt("s2", "r2", 1, 5.0, 5.0))


async def test_what_was_heard_is_not_open_again_for_an_earlier_attempt(tmp_path: Path) -> None:
    path = tmp_path / "balancer.db"
    journal = BalancerJournal(str(path), "process", lambda: 1.0)
    for attempt in (2, 1, 3):
        journal.revoked("s1", "r1", attempt)
        if attempt == 2:
            journal.acknowledged("s1", "r1", 2)
        await journal.survives()
        (row,) = read(path).attempts
        assert (row.attempt, row.acknowledged_s is None) == (max(2, attempt), attempt == 3)
    await journal.close()
