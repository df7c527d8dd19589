"""Hard admission: check and reserve in one step, so that no more is ever used than there is (I1).

Pure: every call is told the time. Must not know HTTP, timers or wall time; all seconds are grid seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from config.messages import SubstationCharge
from config.report import Report
from config.settings import SubstationSettings
from services.substation.ends import Ends
from services.substation.forecast import Forecast
from services.substation.records import KEPT, Records
from services.substation.session import Session, State, length_s, watts

#: Why a charge was refused; `over-capacity` will never fit here, `substation-full` will.
Reason = Literal["substation-full", "draining", "over-capacity", "revoked", "request-id-taken", "closed"]
#: No attempt is above this.
MOST_ATTEMPTS = 10**9
#: What no further attempt may bring back.
_FINAL = ("charging", "ended", "dropped")


class Started:
    """`session` charges, or did: `repeated` where an earlier request with its id began it."""

    __slots__ = ("repeated", "session")

    def __init__(self, session: Session, repeated: bool) -> None:
        self.session = session
        self.repeated = repeated

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Started) and self.session is other.session and self.repeated == other.repeated

    def __hash__(self) -> int:
        return hash((id(self.session), self.repeated))


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing began. `retry_after_s`: from when it would fit if nobody else came (None: never, or nobody knows)."""

    reason: Reason
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be used at once: `max_sessions` sessions, and `capacity_w` watts unless None."""

    max_sessions: int
    capacity_w: int | None


def _nothing(_: object) -> None: ...


class Admission:
    """The places and watts of one substation, and who has them.

    `epoch` names this run of it in reports; `on_end` is called with each session that is over; `kept` bounds the records,
    and `on_forget` is called with each session, or request_id of a revocation, that falls out of them.
    """

    def __init__(
        self,
        settings: SubstationSettings,
        epoch: int,
        on_end: Callable[[Session], None] = _nothing,
        kept: int = KEPT,
        on_forget: Callable[[Session | str], None] = _nothing,
    ) -> None:
        capacity_w = None if settings.capacity_kw is None else watts(settings.capacity_kw)
        self.nominal = Limits(settings.max_sessions, capacity_w)
        self.limits = self.nominal
        self.epoch = epoch
        self.seq = 0
        self.load_w = 0
        self.draining = False
        self.closed = False
        self._hard = settings.hard_limit
        self._session_s = settings.session_s
        self._power_kw = settings.power_kw
        self._on_end = on_end
        self._running: dict[str, Session] = {}
        self._ends = Ends()
        self._number = 0
        self._records = Records(kept, on_forget)
        self._forecast = Forecast(lambda: list(self._ends))

    @property
    def max_sessions(self) -> int:
        """How many sessions may run now."""
        return self.limits.max_sessions

    @property
    def capacity_w(self) -> int | None:
        """How many watts may be drawn now; None: no limit."""
        return self.limits.capacity_w

    @property
    def sessions(self) -> int:
        """How many sessions run."""
        return len(self._running)

    @property
    def load(self) -> float:
        """The larger of the two ratios, 1 is full."""
        by_sessions = self.sessions / self.max_sessions
        return by_sessions if self.capacity_w is None else max(by_sessions, self.load_w / self.capacity_w)

    def admit(self, charge: SubstationCharge, request_id: str, now_s: float) -> Started | Refused:
        """Starts a session for `charge` under `request_id`, or says why not.

        An id that is charging or has charged gets its session again, whatever attempt it comes as; the session then
        counts as of the higher attempt, so that a revocation of the lower one misses it. A revoked attempt stays out.
        """
        self.advance(now_s)
        known = self.find(request_id)
        if known is not None and known.state in _FINAL:
            return self._again(known, charge)
        if charge.attempt <= self._records.revoked_attempt(request_id):
            return Refused("revoked")
        power_w = watts(charge.power_kw if charge.power_kw is not None else self._power_kw)
        refused = self._refusal(power_w, now_s)
        return refused or Started(self._start(charge, request_id, power_w, now_s), repeated=False)

    def _again(self, known: Session, charge: SubstationCharge) -> Started | Refused:
        if known.ev_id != charge.ev_id:
            return Refused("request-id-taken")
        known.attempt = max(known.attempt, charge.attempt)
        return Started(known, repeated=True)

    def _refusal(self, power_w: int, now_s: float) -> Refused | None:
        if self.nominal.capacity_w is not None and power_w > self.nominal.capacity_w and self._hard:
            return Refused("over-capacity")
        if self.draining:
            return Refused("draining")
        if self.closed:
            return Refused("closed")
        if not self._hard or self._fits(self.sessions, self.load_w, power_w):
            return None
        if not self._fits(0, 0, power_w):  # derated: nobody knows for how long
            return Refused("substation-full")
        return Refused("substation-full", self._room_at_s(power_w) - now_s)

    def _fits(self, sessions: int, load_w: int, power_w: int) -> bool:
        return sessions < self.max_sessions and (self.capacity_w is None or load_w + power_w <= self.capacity_w)

    def _room_at_s(self, power_w: int) -> float:
        sessions, load_w = self.sessions, self.load_w
        for end_s, _, ending_w, _ in self._ends:
            sessions -= 1
            load_w -= ending_w
            if self._fits(sessions, load_w, power_w):
                return end_s
        raise AssertionError("what fits into the empty substation must fit once all has ended")

    def _start(self, charge: SubstationCharge, request_id: str, power_w: int, now_s: float) -> Session:
        ends_s = now_s + length_s(charge, power_w, self._session_s)
        self._number += 1
        session = Session(request_id, charge.ev_id, charge.attempt, power_w, now_s, ends_s, self._number)
        self._run(session)
        return session

    def _run(self, session: Session) -> None:
        self._ends.add(session)
        self._enter(session)

    def _enter(self, session: Session) -> None:
        self._running[session.request_id] = session
        self._forecast.add(session.ends_s, session.power_w)
        self.load_w += session.power_w
        self.seq += 1

    def advance(self, now_s: float) -> None:
        """Ends what was planned to end by `now_s`, each at its planned instant."""
        for session in self._ends.pop_due(now_s):
            self._finish(session, session.ends_s, "ended", "")

    def revoke(
        self, request_id: str, attempt: int | None, now_s: float, state: State = "revoked", reason: str = ""
    ) -> Session | None:
        """Ends the session of `request_id` where it is of attempt `attempt` or a lower one, and keeps later ones out.

        None stands for all attempts of a session that there is. `state` and `reason` say what it was then. Returns the
        session that charges or charged, None where there is none.
        """
        self.advance(now_s)
        session = self.find(request_id)
        if attempt is None:
            attempt = MOST_ATTEMPTS if session else 0
        if attempt:
            self._records.revoke(request_id, attempt)
        if session is not None and session.state == "charging" and session.attempt <= attempt:
            self._ends.remove(session)
            self._finish(session, now_s, state, reason or state)
        return session

    def drop(self, reason: str, now_s: float) -> list[Session]:
        """Ends all that charges, each `dropped` for `reason`; returns them."""
        self.advance(now_s)
        dropped = list(self._running.values())
        self._ends.clear()
        for session in dropped:
            self._finish(session, now_s, "dropped", reason)
        return dropped

    def withdraw(self, session: Session) -> None:
        """Takes a start back as if it had never been: it could not be written down, so nobody was told of it."""
        if session.state == "charging":
            self._ends.remove(session)
            self._leave(session)
        else:
            self._records.remove(session)

    def _finish(self, session: Session, ended_s: float, state: State, reason: str) -> None:
        self._leave(session)
        session.ended_s = ended_s
        session.state = state
        session.reason = reason
        self._records.add(session)
        self._on_end(session)

    def _leave(self, session: Session) -> None:
        del self._running[session.request_id]
        self.load_w -= session.power_w
        self.seq += 1
        self._forecast.remove(session.ends_s, session.power_w)

    def resume(self, sessions: Iterable[Session], revoked: Iterable[tuple[str, int]]) -> None:
        """Takes over what an earlier run knew: `sessions` in the order of their ends, and revoked attempts by request_id.

        What charged then charges on, over the limits too, until `advance` ends it as planned. Only at the start.
        """
        running = []
        for session in sessions:
            self._number = max(self._number, session.number)
            if session.state == "charging":
                running.append(session)
                self._enter(session)
            else:
                self._records.add(session)
                self.seq += 1
        self._ends.load(running)
        for request_id, attempt in revoked:
            self._records.revoke(request_id, attempt)

    def limit(self, limits: Limits) -> None:
        """What may be used from now on; what charges goes on, though it be more."""
        if limits != self.limits:
            self.limits = limits
            self.seq += 1

    def close(self, closed: bool) -> None:
        """Refuses (or takes again) new sessions because they cannot be written down; running ones go on."""
        if closed is not self.closed:
            self.closed = closed
            self.seq += 1

    def drain(self, draining: bool) -> None:
        """Refuses (or takes again) new sessions; running ones go on."""
        if draining is not self.draining:
            self.draining = draining
            self.seq += 1

    def next_end_s(self) -> float | None:
        """When the next session is planned to end; None where nothing runs."""
        return self._ends.first_s()

    def find(self, request_id: str) -> Session | None:
        """The session of `request_id`: the running one, else the one that ended last, else None."""
        return self._running.get(request_id) or self._records.find(request_id)

    def running(self) -> Iterator[Session]:
        """What charges, in the order of starts and of numbers."""
        return iter(self._running.values())

    def ended(self) -> Iterator[Session]:
        """The remembered sessions that are over, the one that ended last first."""
        return self._records.newest_first()

    def report(self, now_s: float) -> Report:
        """What this substation says of itself at `now_s`."""
        self.advance(now_s)
        return Report(
            epoch=self.epoch,
            seq=self.seq,
            sessions=self.sessions,
            load_w=self.load_w,
            max_sessions=self.max_sessions,
            capacity_w=self.capacity_w,
            ends=self._forecast.steps(now_s, self.next_end_s()),
            draining=self.draining or self.closed,
        )
