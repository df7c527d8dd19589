"""I1: never more used than there is, whatever comes in whatever order; and one id has one session."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from config.messages import SubstationCharge
from config.report import Report
from config.settings import SubstationSettings
from services.substation.admission import Admission, Refused, Started
from services.substation.session import Session, watts


def _admission(max_sessions: int = 10, capacity_kw: float | None = None, kept: int = 100) -> Admission:
    return Admission(SubstationSettings(max_sessions=max_sessions, capacity_kw=capacity_kw), epoch=1, kept=kept)


def _charge(ev_id: str = "EV1", **fields: object) -> SubstationCharge:
    return SubstationCharge.model_validate({"ev_id": ev_id, **fields})


def _start(admission: Admission, request_id: str, now_s: float = 0.0, **fields: object) -> Session:
    outcome = admission.admit(_charge(**fields), request_id, now_s)  # type: ignore[arg-type]
    assert isinstance(outcome, Started)
    return outcome.session


def test_seventy_four_kw_take_ten_of_seven_point_four() -> None:
    admission = _admission(max_sessions=100, capacity_kw=74)
    for number in range(10):
        _start(admission, f"r{number}", power_kw=7.4)
    assert admission.load == 1.0
    assert admission.admit(_charge(power_kw=0.001), "r10", 0.0) == Refused("substation-full", 30.0)


@pytest.mark.parametrize(
    ("fields", "lasts_s"),
    [
        ({}, 30.0),
        ({"duration_s": 60}, 60.0),
        ({"departure_in_s": 45, "duration_s": 60}, 45.0),
        ({"energy_kwh": 7.4, "power_kw": 7.4}, 3600.0),
        ({"energy_kwh": 7.4, "power_kw": 7.4, "duration_s": 3601, "departure_in_s": 3602}, 3600.0),
        ({"energy_kwh": 7.4}, 3600.0),
    ],
)
def test_a_session_ends_at_the_earliest_of_its_limits(fields: dict[str, float], lasts_s: float) -> None:
    assert _start(_admission(), "r", 100.0, **fields).ends_s == 100.0 + lasts_s


def test_a_slot_is_free_at_the_planned_instant_and_not_before() -> None:
    admission = _admission(max_sessions=1)
    _start(admission, "r1")
    assert admission.admit(_charge(), "r2", 29.5) == Refused("substation-full", 0.5)
    _start(admission, "r2", 30.0)


def test_retry_after_waits_until_enough_has_ended() -> None:
    admission = _admission(max_sessions=3, capacity_kw=22)
    for number in range(3):
        _start(admission, f"r{number}", power_kw=7, duration_s=10 * (number + 1))
    assert admission.admit(_charge(power_kw=1), "x", 5.0) == Refused("substation-full", 5.0)
    assert admission.admit(_charge(power_kw=15), "x", 5.0) == Refused("substation-full", 15.0)
    assert admission.admit(_charge(power_kw=22), "x", 5.0) == Refused("substation-full", 25.0)
    assert admission.admit(_charge(power_kw=22.001), "x", 5.0) == Refused("over-capacity")


def test_the_same_id_gives_the_same_session_also_after_its_end() -> None:
    admission = _admission(max_sessions=1)
    session = _start(admission, "r")
    seq = admission.seq
    assert admission.admit(_charge(), "r", 10.0) == Started(session, repeated=True)
    assert admission.admit(_charge(), "r", 31.0) == Started(session, repeated=True)
    assert session.state == "ended"
    assert admission.seq == seq + 1
    assert admission.admit(_charge("another"), "r", 31.0) == Refused("request-id-taken")


def test_answers_are_forgotten_in_the_end() -> None:
    admission = _admission(kept=2)
    first = _start(admission, "r0", duration_s=1)
    for number in (1, 2):
        _start(admission, f"r{number}", 10.0 * number, duration_s=1)
    admission.advance(100.0)
    assert [session.request_id for session in admission.ended()] == ["r2", "r1"]
    assert _start(admission, "r0", 100.0) is not first


def test_a_revoked_session_is_over_and_its_attempt_stays_out() -> None:
    admission = _admission(max_sessions=1)
    session = _start(admission, "r", attempt=2)
    assert admission.revoke("r", 2, 12.0) is session
    assert (session.state, session.ended_s, admission.sessions, admission.load_w) == ("revoked", 12.0, 0, 0)
    assert admission.admit(_charge(attempt=2), "r", 13.0) == Refused("revoked")
    assert _start(admission, "r", 13.0, attempt=3) is not session


def test_a_revocation_may_come_before_what_it_revokes() -> None:
    admission = _admission()
    assert admission.revoke("r", 1, 0.0) is None
    assert admission.admit(_charge(), "r", 1.0) == Refused("revoked")


def test_a_higher_attempt_takes_the_session_over_and_outlives_the_lower_ones_revocation() -> None:
    admission = _admission()
    session = _start(admission, "r", attempt=1)
    assert admission.admit(_charge(attempt=2), "r", 1.0) == Started(session, repeated=True)
    assert admission.revoke("r", 1, 2.0) is session
    assert session.state == "charging"
    assert admission.revoke("r", 2, 2.0) is session
    assert session.ended_s == 2.0


def test_a_cancellation_without_attempt_ends_whatever_runs() -> None:
    admission = _admission()
    session = _start(admission, "r", attempt=7)
    assert admission.revoke("r", None, 1.0) is session
    assert session.ended_s == 1.0
    assert admission.revoke("never", None, 1.0) is None
    _start(admission, "never", 2.0)


def test_draining_refuses_and_lets_what_runs_end() -> None:
    admission = _admission()
    session = _start(admission, "r")
    admission.drain(draining=True)
    seq = admission.seq
    admission.drain(draining=True)
    assert admission.seq == seq
    assert admission.admit(_charge(), "s", 1.0) == Refused("draining")
    assert admission.admit(_charge(), "r", 1.0) == Started(session, repeated=True)
    assert admission.report(1.0).draining
    admission.drain(draining=False)
    _start(admission, "s", 2.0)


def test_ends_are_told_in_their_order_at_their_planned_instants() -> None:
    over: list[tuple[str, float | None, float]] = []
    admission = Admission(
        SubstationSettings(), 1, lambda session: over.append((session.request_id, session.ended_s, session.energy_kwh))
    )
    _start(admission, "late", power_kw=3.6, duration_s=2000)
    _start(admission, "early", power_kw=3.6, duration_s=1000)
    assert admission.next_end_s() == 1000.0
    admission.advance(5000.0)
    assert over == [("early", 1000.0, 1.0), ("late", 2000.0, 2.0)]
    assert admission.next_end_s() is None


class Substations(RuleBasedStateMachine):
    """Random events against an independent account of what should run."""

    @initialize(max_sessions=st.integers(1, 6), capacity_kw=st.none() | st.floats(1, 40))
    def begin(self, max_sessions: int, capacity_kw: float | None) -> None:
        self.capacity_w = None if capacity_kw is None else watts(capacity_kw)
        self.max_sessions = max_sessions
        self.admission = _admission(max_sessions, capacity_kw, kept=1000)
        self.now_s = 0.0
        self.running: dict[str, Session] = {}
        self.last = self.admission.report(0.0)

    def _forget_ended(self) -> None:
        self.running = {name: each for name, each in self.running.items() if each.ends_s > self.now_s}

    @rule(
        number=st.integers(0, 12),
        attempt=st.integers(1, 3),
        power_kw=st.none() | st.floats(0.001, 50),
        duration_s=st.none() | st.floats(0.01, 100),
        energy_kwh=st.none() | st.floats(0.0001, 2),
    )
    def admit(
        self, number: int, attempt: int, power_kw: float | None, duration_s: float | None, energy_kwh: float | None
    ) -> None:
        self._forget_ended()
        request_id = f"r{number}"
        charge = _charge(attempt=attempt, power_kw=power_kw, duration_s=duration_s, energy_kwh=energy_kwh)
        outcome = self.admission.admit(charge, request_id, self.now_s)
        power_w = watts(power_kw or 7.4)
        if isinstance(outcome, Started):
            if request_id in self.running:
                assert outcome == Started(self.running[request_id], repeated=True)
            elif not outcome.repeated:
                self.running[request_id] = outcome.session
        elif outcome.reason == "substation-full":
            assert not self._fits(power_w, self.now_s)
            assert outcome.retry_after_s is not None
            assert self._fits(power_w, self.now_s + outcome.retry_after_s + 1e-6)
            assert not self._fits(power_w, self.now_s + outcome.retry_after_s - 1e-6)

    def _fits(self, power_w: int, at_s: float) -> bool:
        held = [each.power_w for each in self.running.values() if each.ends_s > at_s]
        room = self.capacity_w is None or sum(held) + power_w <= self.capacity_w
        return len(held) < self.max_sessions and room

    @rule(number=st.integers(0, 12), attempt=st.none() | st.integers(1, 3))
    def revoke(self, number: int, attempt: int | None) -> None:
        self._forget_ended()
        session = self.admission.revoke(f"r{number}", attempt, self.now_s)
        if session is not None and session.state == "revoked":
            self.running.pop(f"r{number}", None)

    @rule(draining=st.booleans())
    def drain(self, draining: bool) -> None:
        self.admission.drain(draining)

    @rule(seconds=st.floats(0, 60))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def used_is_never_above_capacity_and_reports_are_true(self) -> None:
        if not hasattr(self, "admission"):
            return
        self._forget_ended()
        report = Report.decode(self.admission.report(self.now_s).encode())
        assert report.sessions == len(self.running) <= self.max_sessions
        assert report.load_w == sum(each.power_w for each in self.running.values())
        assert self.capacity_w is None or report.load_w <= self.capacity_w
        assert (report.seq == self.last.seq) <= (report.load_w == self.last.load_w)
        assert report.seq >= self.last.seq
        self._ends_are_honest(report)
        self.last = report

    def _ends_are_honest(self, report: Report) -> None:
        true = sorted(each.ends_s - self.now_s for each in self.running.values())
        told = [step.in_s for step in report.ends for _ in range(step.sessions)]
        assert told == pytest.approx(true)


TestSubstations = Substations.TestCase
TestSubstations.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.integers(0, 2**32), st.integers(17, 400))
@settings(max_examples=15, deadline=None)
def test_the_forecast_of_many_sessions_is_never_later_than_the_truth(seed: int, count: int) -> None:
    rng = Random(seed)
    admission = _admission(max_sessions=10**9)
    for number in range(count):
        now_s = float(number)
        admission.admit(_charge(duration_s=rng.choice([1, 10, 100, 1000]) * rng.uniform(0.5, 1)), f"r{number}", now_s)
        if rng.random() < 0.2:
            admission.revoke(f"r{rng.randrange(number + 1)}", None, now_s)
        report = Report.decode(admission.report(now_s).encode())
        true = sorted(each.ends_s - now_s for each in admission.running())
        told = [step.in_s for step in report.ends for _ in range(step.sessions)]
        assert len(told) == len(true)
        assert all(said <= ends_s + 1e-9 for said, ends_s in zip(told, true, strict=True))
        assert not true or told[0] == pytest.approx(true[0])


def test_a_report_is_numbered_0_only_while_no_session_is_known() -> None:
    new = _admission()
    assert new.report(0.0).seq == 0
    assert new.revoke("r1", 1, 0.0) is None
    assert (new.report(0.0).seq, [*new.running(), *new.ended()]) == (0, [])
    session = _start(new, "r2")
    assert new.report(0.0).seq > 0
    charging, over = _admission(), _admission()
    charging.resume([session], [])
    assert charging.report(0.0).seq > 0
    new.advance(session.ends_s)
    over.resume(list(new.ended()), [])
    assert (over.report(100.0).seq > 0, over.report(100.0).sessions) == (True, 0)
