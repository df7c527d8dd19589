"""The ledger's arithmetic: against a substation that is simulated exactly, and case by case."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from config.messages import SubstationCharge
from config.report import Report, Step
from config.settings import SubstationSettings
from services.balancer.account import SLOW_S, Account
from services.balancer.belief import CERTAIN_S
from services.balancer.standing import EJECTION_CAP_S
from services.balancer.targets import Target
from services.routing.node import FRESH, STALE, SUSPECT
from services.substation.admission import Admission, Started

POWER_W = 7_400


def account(external: bool = False, pushes: bool = False, **limits: Any) -> Account:
    target = Target("substation1", "http://127.0.0.1:9001", external=external, **limits)
    return Account(target, 0, POWER_W, pushes=pushes)


def report(seq: int, sessions: int = 0, epoch: int = 1, ends: tuple[float, ...] = (), **more: Any) -> Report:
    steps = tuple(Step(in_s, 1, POWER_W) for in_s in ends)
    steps += (Step(1e6, sessions - len(ends), (sessions - len(ends)) * POWER_W),) if sessions > len(ends) else ()
    return Report(epoch, seq, sessions, sessions * POWER_W, more.pop("max_sessions", 10), ends=steps, **more)


def test_planned_ends_free_places_between_polls() -> None:
    entry = account()
    entry.fold(report(1, 3, ends=(5.0, 8.0, 20.0)), 0.0, 0.0)
    for now_s, sessions in [(4.9, 3), (5.0, 2), (8.0, 1), (30.0, 0)]:
        entry.advance(now_s)
        assert entry.node.sessions == sessions
        assert entry.node.load_w == sessions * POWER_W


def test_grid_seconds_are_scaled_to_wall_seconds() -> None:
    entry = Account(Target("substation1", "http://x"), 0, POWER_W, time_scale=10.0)
    entry.fold(report(1, 1, ends=(30.0,)), 100.0, 100.0)
    entry.advance(102.9)
    assert entry.node.sessions == 1
    entry.advance(103.0)
    assert entry.node.sessions == 0


def test_an_older_report_is_ignored_and_an_old_epoch_never_comes_back() -> None:
    entry = account()
    entry.fold(report(5, 5), 0.0, 0.0)
    entry.fold(report(4, 1), 0.0, 1.0)
    assert entry.node.sessions == 5
    assert entry.fold(report(1, 2, epoch=2), 0.0, 2.0)
    entry.fold(report(9, 9, epoch=1), 0.0, 3.0)
    assert entry.node.sessions == 2


def test_a_late_report_of_an_epoch_that_was_never_heard_is_not_believed_for_ever() -> None:
    entry = account()
    entry.fold(report(1, 5, epoch=2), 0.0, 1.0)
    assert entry.fold(report(9, 9, epoch=1), -math.inf, 2.0), "nobody can know that it is old: it is looked at again"
    assert not entry.fold(report(2, 4, epoch=2), 1.5, 3.0), "this may have been said before"
    assert entry.fold(report(3, 6, epoch=2), 4.0, 4.0)
    assert entry.node.sessions == 6
    assert not entry.fold(report(10, 9, epoch=1), -math.inf, 5.0)
    assert entry.node.sessions == 6


def test_a_restart_forgets_what_was_sent_to_the_old_process() -> None:
    entry = account()
    entry.fold(report(1), 0.0, 0.0)
    entry.assume("r1", POWER_W, 0.0)
    entry.fold(report(1, epoch=2), 1.0, 1.0)
    assert entry.node.sessions == 0
    entry.forget("r1")
    assert entry.node.load_w == 0


def test_a_doubted_session_counts_until_a_later_report() -> None:
    entry = account()
    entry.fold(report(1), 0.0, 0.0)
    entry.assume("r1", POWER_W, 0.0)
    entry.doubt("r1", 5.0)
    entry.fold(report(1), asked_at_s=4.0, now_s=6.0)
    assert entry.node.sessions == 1
    entry.fold(report(2, 1), asked_at_s=5.5, now_s=6.1)
    assert (entry.node.sessions, entry.pending) == (1, {})


def test_an_external_is_its_gauge_and_what_was_sent_since() -> None:
    entry = account(external=True, max_sessions=4)
    entry.fold_gauge(2, 0.0, 0.1)
    entry.assume("r1", POWER_W, 0.0)
    entry.confirm("r1", ends_at_s=30.0, now_s=1.0)
    assert entry.node.sessions == 3
    entry.assume("r2", POWER_W, 1.0)
    assert entry.node.sessions == 4
    assert entry.is_certainly_full(POWER_W, 1, 1.0)
    entry.fold_gauge(3, 2.0, 2.1)
    assert entry.node.sessions == 4, "r1 is in the gauge, r2 is not"
    entry.confirm("r2", ends_at_s=32.0, now_s=3.0)
    entry.advance(31.0)
    assert entry.node.sessions == 3
    entry.advance(33.0)
    assert entry.node.sessions == 2, "what others started there has no planned end"


def test_an_external_that_was_never_heard_is_carried_by_own_sends() -> None:
    entry = account(external=True, max_sessions=1)
    entry.assume("r1", POWER_W, 0.0)
    entry.confirm("r1", 30.0, 0.0)
    assert entry.is_certainly_full(POWER_W, 1, 0.0)
    assert entry.fits_at_s(POWER_W, 0.0) == 30.0
    assert entry.state == "unheard"


def test_two_missed_polls_make_stale_and_one_answer_fresh() -> None:
    entry = account()
    assert (entry.node.rank, entry.state) == (STALE, "unheard")
    entry.fold(report(1), 0.0, 0.0)
    entry.miss_poll()
    assert entry.node.rank == FRESH
    entry.miss_poll()
    assert (entry.node.rank, entry.state) == (STALE, "stale")
    entry.fold(report(1), 1.0, 1.0)
    assert entry.node.rank == FRESH


def test_suspicion_grows_is_capped_and_ends() -> None:
    entry = account()
    entry.fold(report(1), 0.0, 0.0)
    now_s = 0.0
    lasted = []
    for _ in range(8):
        entry.suspect(now_s, now_s)
        began_s = now_s
        while entry.node.rank == SUSPECT:
            now_s += 0.5
            entry.advance(now_s)
        lasted.append(now_s - began_s)
    assert lasted == [1, 2, 4, 8, 16, EJECTION_CAP_S, EJECTION_CAP_S, EJECTION_CAP_S]
    entry.trust()
    entry.suspect(now_s, now_s)
    entry.advance(now_s + 1)
    assert entry.node.rank == FRESH


def test_many_requests_that_one_failure_hit_are_one_suspicion() -> None:
    entry = account()
    entry.fold(report(1), 0.0, 0.0)
    for asked_at_s in range(50):
        entry.suspect(asked_at_s / 100, 2.0)
    entry.advance(3.0)
    assert entry.node.rank == FRESH


def test_one_that_owes_an_answer_is_asked_after_the_others() -> None:
    entry = account()
    entry.fold(report(1), 0.0, 0.0)
    entry.assume("r1", POWER_W, 0.0)
    entry.advance(SLOW_S - 0.01)
    assert entry.node.rank == FRESH
    entry.advance(SLOW_S)
    assert entry.node.rank == STALE
    entry.forget("r1")
    entry.advance(SLOW_S)
    assert entry.node.rank == FRESH


def test_it_is_only_certainly_full_right_after_it_said_so() -> None:
    entry = account()
    entry.fold(report(1, 10), 0.0, 0.0)
    assert entry.is_certainly_full(POWER_W, 1, CERTAIN_S)
    assert not entry.is_certainly_full(POWER_W, 1, CERTAIN_S + 0.01)


def test_what_was_believed_to_have_ended_and_runs_still_counts_again() -> None:
    entry = account()
    entry.fold(report(1, 1, ends=(5.0,)), 0.0, 0.04)
    entry.advance(5.01)
    assert entry.node.sessions == 0, "it ends at 5.0 or up to 0.04 s later"
    entry.fold(report(1, 1, ends=(0.02,)), 5.01, 5.02)
    assert (entry.node.sessions, entry.fits_at_s(POWER_W * 10, 5.02)) == (1, 5.02)
    entry.fold(report(1, 1, ends=(4.9,)), 0.1, 5.025)
    entry.advance(5.026)
    assert entry.node.sessions == 1, "the same state, seen earlier, says nothing new"


def test_own_assumptions_never_make_it_certain() -> None:
    entry = account()
    entry.fold(report(1, 9), 0.0, 0.0)
    entry.assume("r1", POWER_W, 0.0)
    assert not entry.node.fits(POWER_W)
    assert not entry.is_certainly_full(POWER_W, 1, 0.0)


@pytest.mark.parametrize(("power_w", "at_s"), [(7_400, 5.0), (14_800, 8.0), (29_600, 20.0), (40_000, None)])
def test_when_it_fits_again(power_w: int, at_s: float | None) -> None:
    entry = account()
    ends = (Step(5.0, 1, 7_400), Step(8.0, 1, 7_400), Step(20.0, 2, 14_800))
    entry.fold(Report(1, 1, 4, 29_600, 10, 29_600, ends), 0.0, 0.0)
    assert entry.fits_at_s(power_w, 0.0) == at_s
    assert entry.can_ever_fit(power_w) is (at_s is not None)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans()), max_size=40))
def test_only_the_newest_of_any_reports_counts(arrivals: list[tuple[int, int, bool]]) -> None:
    """Whatever order reports of one epoch arrive in, the estimate is that of the highest seq."""
    entry = account()
    highest = -1
    for seq, _, polled in arrivals:
        entry.fold(report(seq, seq), 0.0, 0.0)
        if polled:
            entry.miss_poll()
        highest = max(highest, seq)
        assert entry.node.sessions == highest


class Mirror(RuleBasedStateMachine):
    """An account beside the substation it stands for: answers may be late, lost, or come out of order.

    What must hold: the account never believes less than what the newest report it took can justify, and once all
    answers have arrived it believes exactly what is true (planned ends are kept; at most 16 sessions, so no rounding).
    """

    @initialize(max_sessions=st.integers(1, 12))
    def begin(self, max_sessions: int) -> None:
        self.now_s = 0.0
        self.number = 0
        self.late: list[tuple[str, Report, float, bool]] = []
        self.core = Admission(SubstationSettings(max_sessions=max_sessions), epoch=1)
        self.entry = account()
        self.entry.fold(self.core.report(0.0), 0.0, 0.0)

    @rule(lasts_s=st.integers(1, 30), answered=st.sampled_from(["now", "late", "lost"]))
    def send(self, lasts_s: int, answered: str) -> None:
        self.number += 1
        request_id = f"r{self.number}"
        self.entry.advance(self.now_s)
        self.entry.assume(request_id, POWER_W, self.now_s)
        charge = SubstationCharge(ev_id=request_id, request_id=request_id, duration_s=lasts_s)
        started = isinstance(self.core.admit(charge, request_id, self.now_s), Started)
        answer = (request_id, self.core.report(self.now_s), self.now_s, started)
        if answered == "now":
            self._arrive(answer)
        elif answered == "late":
            self.late.append(answer)
        else:
            self.entry.doubt(request_id, self.now_s)

    @rule(which=st.integers(0, 5))
    def late_answer(self, which: int) -> None:
        if self.late:
            self._arrive(self.late.pop(which % len(self.late)))

    @rule(wall_s=st.integers(1, 10))
    def time_passes(self, wall_s: int) -> None:
        if not self.late:  # an answer in flight takes milliseconds, not seconds
            self.now_s += wall_s

    @rule()
    def poll(self) -> None:
        self.now_s += 0.001
        self.entry.fold(self.core.report(self.now_s), self.now_s, self.now_s)

    def _arrive(self, answer: tuple[str, Report, float, bool]) -> None:
        request_id, said, asked_at_s, started = answer
        self.entry.fold(said, asked_at_s, self.now_s)
        if started:
            self.entry.confirm(request_id, self.now_s + 30, self.now_s)
        else:
            self.entry.forget(request_id)

    @invariant()
    def nothing_is_believed_free_that_was_given_away(self) -> None:
        if not hasattr(self, "core"):
            return
        self.entry.advance(self.now_s)
        self.core.advance(self.now_s)
        assert self.entry.node.sessions >= self.core.sessions
        assert self.entry.node.load_w == self.entry.node.sessions * POWER_W

    @invariant()
    def all_told_it_is_exact(self) -> None:
        if hasattr(self, "core") and not self.late and not self.entry.pending:
            self.core.advance(self.now_s)
            self.entry.advance(self.now_s)
            assert self.entry.node.sessions == self.core.sessions


TestMirror = Mirror.TestCase
TestMirror.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
