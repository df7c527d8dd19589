"""From charges to answers: admit, write down, answer. Must not know HTTP servers, timers or who asks.

Between a check and its reservation there is never an await; the await for the journal comes between these and the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from config.messages import SubstationCharge
from config.names import new_id
from config.problems import Problem
from config.settings import SubstationSettings
from monitoring.metrics import SubstationMetrics
from services.journal import JournalError, Told
from services.substation import answers
from services.substation.admission import Admission, Refused, Started
from services.substation.keeping import Keeper
from services.substation.session import Session

_log = logging.getLogger(__name__)

#: What a charge is answered: the body of a 202, or the Problem.
Answer = dict[str, Any] | Problem


class Charging:
    """Takes charges for one substation. `accepted` and `refused` count what was answered in this run."""

    def __init__(
        self, settings: SubstationSettings, admission: Admission, keeper: Keeper, metrics: SubstationMetrics
    ) -> None:
        self.accepted = 0
        self.refused = 0
        self._settings = settings
        self._admission = admission
        self._keeper = keeper
        self._metrics = metrics
        self._quoted_name = quoted(settings.name)
        self._begun = metrics.requests.labels("accepted")
        self._repeated = metrics.requests.labels("repeated")

    async def answer(self, items: Sequence[SubstationCharge | Problem]) -> list[Answer]:
        """The answers to `items`, in their order; a 202 only for what survives."""
        now_s = self.now_s()
        return await self.settle(items, [self.admit(item, now_s) for item in items])

    async def settle(
        self, items: Sequence[SubstationCharge | Problem], outcomes: Sequence[Started | Problem]
    ) -> list[Answer]:
        """The answers to `items`, of which `admit` made `outcomes`."""
        failed = None
        try:
            await self._keeper.keep([outcome.session for outcome in outcomes if isinstance(outcome, Started)])
        except JournalError as error:
            failed = error
        return self.settled(items, outcomes, failed)

    def keep(self, sessions: Sequence[Session], told: Told) -> None:
        """Has `sessions`, which `admit` reserved, written down; once `told`, what they belong to is to be `settled`."""
        self._keeper.keep_then(sessions, told)

    def settled(
        self,
        items: Sequence[SubstationCharge | Problem],
        outcomes: Sequence[Started | Problem],
        error: JournalError | None,
    ) -> list[Answer]:
        """As `settle`, once all were written down, or were not because of `error`."""
        if error is not None:
            outcomes = self._take_back(items, outcomes, error)
        return [self.accept(outcome) if isinstance(outcome, Started) else outcome for outcome in outcomes]

    def now_s(self) -> float:
        """The grid's time, to admit and to accept by."""
        return self._keeper.clock.grid_s()

    def admit(self, item: SubstationCharge | Problem, now_s: float) -> Started | Problem:
        """Reserves a place for `item`, or says why not; what is reserved must be settled."""
        if isinstance(item, Problem):
            return self.invalid(item)
        charge = named(item)
        outcome = self.reserve(charge, now_s)
        return outcome if isinstance(outcome, Started) else self.refuse(charge, outcome)

    def invalid(self, problem: Problem) -> Problem:
        """Counts a charge that is none."""
        self._metrics.requests.labels("invalid").inc()
        return problem

    def reserve(self, charge: SubstationCharge, now_s: float) -> Started | Refused:
        """Reserves a place for a `named` charge; one that is refused must be told so by `refuse`."""
        return self._admission.admit(charge, charge.request_id or "", now_s)

    def refuse(self, charge: SubstationCharge, outcome: Refused) -> Problem:
        """Why `charge` was not reserved; counted, and logged as what is being worked on."""
        return self._refused(charge, outcome.reason, self._problem(outcome))

    def _problem(self, outcome: Refused) -> Problem:
        if outcome.reason == "closed" and self._keeper.error is not None:
            return answers.unkept(self._settings.name, self._keeper.error)
        return answers.refusal(outcome, self._settings, self._keeper.clock.time_scale)

    def _take_back(
        self,
        items: Sequence[SubstationCharge | Problem],
        outcomes: Sequence[Started | Problem],
        error: JournalError,
    ) -> list[Started | Problem]:
        left: list[Started | Problem] = []
        for item, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, Problem) or isinstance(item, Problem) or outcome.session.is_kept:
                left.append(outcome)
                continue
            if not outcome.repeated:
                self._admission.withdraw(outcome.session)
            problem = answers.unkept(self._settings.name, error)
            left.append(self._refused(item, problem.reason, problem))
        return left

    def accept(self, outcome: Started) -> Answer:
        """The 202 of what survives."""
        self._count(outcome)
        return answers.started(outcome, self._settings.name, self.now_s())

    def accept_json(self, outcome: Started, now_s: float) -> bytes:
        """`accept`, as JSON."""
        self._count(outcome)
        return answers.started_json(outcome.session, self._quoted_name, now_s)

    def _count(self, outcome: Started) -> None:
        if outcome.repeated:
            self._repeated.inc()
        else:
            self.accepted += 1
            self._begun.inc()

    def _refused(self, charge: SubstationCharge, reason: str, problem: Problem) -> Problem:
        self.refused += 1
        self._metrics.requests.labels(reason).inc()
        about = {"request_id": charge.request_id, "ev_id": charge.ev_id, "attempt": charge.attempt}
        _log.info("refused", extra={**about, "reason": reason, "retry_after_s": problem.retry_after_s})
        return problem


def named(charge: SubstationCharge) -> SubstationCharge:
    """`charge` with a request_id: a new one where it has none."""
    return charge if charge.request_id is not None else charge.model_copy(update={"request_id": new_id()})
