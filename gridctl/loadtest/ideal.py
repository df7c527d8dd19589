"""The best that was possible on the arrivals of a run, beside which placing is judged. Pure; must not know HTTP or time now.

All limits are those of services.routing.reference, fed what this run's EVs asked for and everything else that charged.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from gridctl.loadtest.asked import Asked
from gridctl.loadtest.placement import Limits, Session
from services.routing.reference import Arrival, blocked_pooled, erlang_b, jsq_spread

T = TypeVar("T")

NOTHING_ASKED = "no EV was accepted or refused"
UNLIKE = "what a refused EV would have taken is not known: none that asked alike was accepted"
NO_RATE = "the rate changes, or EVs differ: there is no nominal load"
NO_SESSION = "no session began"
TOO_LONG = "no load, or too many slots to work it out"
QUEUED = "EVs waited in a queue: what refuses at once is no measure for that"
NO_TIME = "EVs arrived at one moment: there is no time to average over"


@dataclass(frozen=True, slots=True)
class Ideal:
    """Each figure, or None and in `unknown` why, by its name.

    `blocked_pooled` is the share that one pool of all slots (and watts) would have blocked of the same arrivals,
    `erlang_b` what Erlang's formula gives for it at the nominal load, `spread_jsq` the spread of a perfect
    join-the-shortest-queue with the same hard limits that was fed the same arrivals.
    """

    blocked_pooled: float | None = None
    erlang_b: float | None = None
    spread_jsq: float | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """What a run was: `start_s` … `sent_s` (Unix) is when EVs were sent, at `now_s` records were read.

    `rate_per_s` is EVs a wall second, None where that changed; `time_scale` is grid seconds per wall second.
    """

    asked: Sequence[Asked]
    records: Mapping[str, Sequence[Session]]
    limits: Mapping[str, Limits]
    start_s: float
    sent_s: float
    now_s: float
    rate_per_s: float | None
    time_scale: float


def nothing(why: str) -> Ideal:
    """No figure at all, for one reason."""
    return Ideal(unknown=dict.fromkeys(("blocked_pooled", "erlang_b", "spread_jsq"), why))


def measure(run: Run) -> Ideal:
    """The limits for `run`, whose records are complete and of all substations.

    The arrivals are those that were accepted or refused: an accepted one at the start of its session for as long as
    planned, a refused one when it reached the balancer for as long as it asked for, or as its like were given. What else
    charged takes its place and is not counted. Where EVs waited in a queue there are no limits.
    """
    if any(asked.queued for asked in run.asked):
        return nothing(QUEUED)
    unknown: dict[str, str] = {}
    arrivals = _arrivals(run)
    pooled = spread = None
    if isinstance(arrivals, str):
        unknown = dict.fromkeys(("blocked_pooled", "spread_jsq"), arrivals)
    else:
        limits = list(run.limits.values())
        watts = [limit.capacity_w for limit in limits]
        pool_w = None if None in watts else sum(each for each in watts if each is not None)
        pooled = blocked_pooled(arrivals, sum(limit.max_sessions for limit in limits), capacity_w=pool_w)
        slots = [limit.max_sessions for limit in limits]
        spread = jsq_spread(arrivals, slots, run.start_s, run.sent_s, capacities_w=watts)
        if spread is None:
            unknown["spread_jsq"] = NO_TIME
    erlang, why = _erlang_b(run)
    if why:
        unknown["erlang_b"] = why
    return Ideal(pooled, erlang, spread, unknown)


def _arrivals(run: Run) -> list[Arrival] | str:
    """Every arrival, or why they cannot be told."""
    every = sorted((session for own in run.records.values() for session in own), key=lambda session: session.end_s)
    sessions = {session.request_id: session for session in every}  # of a request that has two: the one that lasts
    usual = _usual(run, sessions)
    found = []
    for asked in run.asked:
        session = sessions.pop(asked.request_id, None)
        arrival = _of_session(session, asked, run) if session else _of_asked(asked, usual, run)
        if arrival == UNLIKE:
            return UNLIKE
        if isinstance(arrival, Arrival):
            found.append(arrival)
    if not found:
        return NOTHING_ASKED
    return found + [Arrival(other.start_s, _length_s(other, run), other.power_w, False) for other in sessions.values()]


def _of_session(session: Session, asked: Asked, run: Run) -> Arrival:
    return Arrival(session.start_s, _length_s(session, run), session.power_w, counted=asked.kind == "accepted")


def _of_asked(asked: Asked, usual: tuple[int | None, float | None], run: Run) -> Arrival | str | None:
    """An arrival without a session; None for one that failed, which nobody can say anything of."""
    if asked.kind == "failed":
        return None
    power_w = usual[0] if asked.power_w is None else asked.power_w
    length_s = usual[1] if asked.length_s is None else asked.length_s / run.time_scale
    if power_w is None or length_s is None:
        return UNLIKE
    return Arrival(asked.answered_s if asked.arrived_s is None else asked.arrived_s, length_s, power_w)


def _usual(run: Run, sessions: Mapping[str, Session]) -> tuple[int | None, float | None]:
    """The power (watts) and length (wall seconds) that EVs were given which asked for none; None where there was no such."""
    powers: Counter[int] = Counter()
    lengths: Counter[float] = Counter()
    for asked in run.asked:
        session = sessions.get(asked.request_id)
        if session is None:
            continue
        if asked.power_w is None:
            powers[session.power_w] += 1
        if asked.length_s is None:
            lengths[round(session.planned_s, 3)] += 1
    return _most(powers), _most(lengths)


def usual_power_w(run: Run) -> int | None:
    """The watts that EVs were given which asked for none; None where there was no such."""
    return _usual(run, {session.request_id: session for own in run.records.values() for session in own})[0]


def _most(counts: Counter[T]) -> T | None:
    return counts.most_common(1)[0][0] if counts else None


def _length_s(session: Session, run: Run) -> float:
    """As planned while it runs; as long as it was once it is over, since an EV may leave early."""
    return session.planned_s if session.end_s >= run.now_s else session.end_s - session.start_s


def _erlang_b(run: Run) -> tuple[float | None, str]:
    """Erlang-B of one pool of all slots at the nominal load (rate times mean planned session, over slots), or why not.

    Where power is limited, a slot is room for the mean power.
    """
    own = {asked.request_id for asked in run.asked}
    sessions = [session for each in run.records.values() for session in each if session.request_id in own]
    if run.rate_per_s is None:
        return None, NO_RATE
    if not sessions:
        return None, NO_SESSION
    mean_s = math.fsum(session.planned_s for session in sessions) / len(sessions)
    mean_w = round(sum(session.power_w for session in sessions) / len(sessions))
    blocked = erlang_b(run.rate_per_s * mean_s, _slots(run.limits.values(), mean_w))
    return blocked, "" if blocked is not None else TOO_LONG


def _slots(limits: Iterable[Limits], power_w: int) -> int:
    return sum(limit.slots(power_w) for limit in limits)
