"""Charges that come on a stream: the refused are answered at once, the others with one commit. Must not know connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial

from config.messages import SubstationCharge, read_message
from config.problems import Problem
from monitoring.metrics import SubstationMetrics
from services.journal import JournalError
from services.problem import to_json
from services.stream.member import Member, fail
from services.substation.admission import Started
from services.substation.charging import Answer, Charging, named
from services.tracing import CURRENT, REQUEST_ID, about, about_of

_Reserved = tuple[Member, SubstationCharge, Started]


class Members:
    """Takes members for one substation. `settled` is called whenever what charges there may have changed."""

    def __init__(self, charging: Charging, metrics: SubstationMetrics, settled: Callable[[], None]) -> None:
        self._charging = charging
        self._durations = metrics.request_duration_s
        self._settled = settled

    def take(self, members: Sequence[Member], refusal: Problem | None) -> None:
        """Answers each, now or once it is written down; with `refusal` where there is one and it can be read."""
        reserved: list[_Reserved] = []
        now_s = self._charging.now_s()  # one moment for all that came together
        for member in members:
            charge = read_message(member.body, SubstationCharge)
            if refusal is not None or isinstance(charge, Problem):
                self._turn_away(member, charge, refusal)
                continue
            charge = named(charge)
            outcome = self._reserve(member, charge, now_s)
            if outcome is None:
                continue
            if outcome.session.is_kept:
                self._accept(member, outcome, now_s)
            else:
                reserved.append((member, charge, outcome))
        if reserved:
            self._charging.keep([made.session for _, _, made in reserved], partial(self._kept, reserved))
        self._settled()

    def _turn_away(self, member: Member, item: SubstationCharge | Problem, refusal: Problem | None) -> None:
        _work_for(member, item)
        if isinstance(item, Problem):
            self._answer(member, self._charging.invalid(item))
        elif refusal is not None:
            self._answer(member, refusal)

    def _reserve(self, member: Member, charge: SubstationCharge, now_s: float) -> Started | None:
        """What it shall get; None where it was refused, and is answered. Only a log needs to know whose work it is."""
        try:
            outcome = self._charging.reserve(charge, now_s)
        except Exception:
            _work_for(member, charge)
            raise
        if isinstance(outcome, Started):
            return outcome
        _work_for(member, charge)
        self._answer(member, self._charging.refuse(charge, outcome))
        return None

    def _kept(self, reserved: Sequence[_Reserved], error: JournalError | None) -> None:
        """Answers those who wait for a commit, in the turn in which it is known how it ended: without a task."""
        try:
            self._settle(reserved, error)
        except Exception:  # noqa: BLE001  the last line of these
            fail(member for member, _, _ in reserved)
        self._settled()

    def _settle(self, reserved: Sequence[_Reserved], error: JournalError | None) -> None:
        if error is None:
            now_s = self._charging.now_s()
            for member, _, outcome in reserved:
                self._accept(member, outcome, now_s)
            return
        for member, item, outcome in reserved:
            copy_context().run(self._refuse, member, item, outcome, error)

    def _refuse(self, member: Member, item: SubstationCharge, outcome: Started, error: JournalError) -> None:
        """In a context of its own: others are told next that a commit ended, each of its own work."""
        _work_for(member, item)
        for answer in self._charging.settled([item], [outcome], error):
            self._answer(member, answer)

    def _accept(self, member: Member, outcome: Started, now_s: float) -> None:
        took_s = time.perf_counter() - member.began_s
        if self._durations.count(took_s):
            self._durations.show(took_s, about_of(member.span, outcome.session.request_id))
        member.answer(202, self._charging.accept_json(outcome, now_s))

    def _answer(self, member: Member, answer: Answer) -> None:
        self._durations.observe(time.perf_counter() - member.began_s, about)
        if isinstance(answer, Problem):
            member.refuse(answer)
        else:
            member.answer(202, to_json(answer))


def _work_for(member: Member, item: SubstationCharge | Problem) -> None:
    CURRENT.set(member.span)
    REQUEST_ID.set("" if isinstance(item, Problem) else item.request_id or "")
