"""What runs at a substation, read from its list of sessions, and when that list is asked for. Must not know HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from config.names import is_name
from config.report import Report
from services.balancer.book import Entry, state_of
from services.balancer.numbers import number

#: Of sessions that are over, those are collected that ended within this (wall seconds): as long as a client asks again.
RECENT_S = 60.0
#: After a start, a return or a restart the list is asked for once more after this (wall seconds), and once the request
#: timeout has passed: what was on its way to the substation has arrived by then.
AGAIN_S = 1.0
#: No session is from further away, and no attempt has a higher number (config.gossip and config.messages allow so much).
FURTHEST_S = 10**17
MOST_ATTEMPTS = 10**9


class Agenda:
    """When the sessions of one substation are due to be collected; `again_s` are the pauses until it is done again."""

    def __init__(self, again_s: Sequence[float]) -> None:
        self._again_s = sorted(again_s)
        self._epoch: int | None = None
        self._owed = False
        self._owing = False
        self._due_s: list[float] = []

    def owe(self) -> None:
        """It is to be done as soon as it can be, whatever was done before."""
        self._owed = True

    def is_due(self, epoch: int, was_silent: bool, now_s: float) -> bool:
        """Whether to collect now from one that runs as `epoch`, and `was_silent` until now."""
        self._owed = self._owed or was_silent or epoch != self._epoch
        return self._owed or bool(self._due_s and self._due_s[0] <= now_s)

    def begin(self) -> None:
        """It is asked for now; what is owed from here on is not settled by that."""
        self._owing, self._owed = self._owed, False

    def done(self, epoch: int, now_s: float) -> None:
        """What runs as `epoch` was collected."""
        if self._owing:
            self._due_s = [now_s + pause_s for pause_s in self._again_s]
        self._due_s = [due_s for due_s in self._due_s if due_s > now_s]
        self._epoch, self._owing = epoch, False

    def wait_s(self, wait_s: float, now_s: float) -> float:
        """`wait_s` seconds, or less where it is due before."""
        return max(0.0, min(wait_s, self._due_s[0] - now_s)) if self._due_s else wait_s


def nothing(report: Report) -> dict[str, Any]:
    """What a substation that reports so would answer: one that never had a session need not be asked. Else empty."""
    return {"epoch": report.epoch, "sessions": []} if report.seq == 0 and report.sessions == 0 else {}


def entries(document: Mapping[str, Any], substation: str, now_s: float) -> list[Entry]:
    """The sessions in an answer to `GET /sessions`, as entries; records that are none are left out."""
    unix_s, (epoch, records) = (
        number(document.get("now_s"), FURTHEST_S),
        (document.get(key) for key in ("epoch", "sessions")),
    )
    if unix_s is None or not isinstance(records, list):
        return []
    offset_s = now_s - unix_s
    return [found for record in records if (found := entry(record, substation, epoch, offset_s)) is not None]


def entry(record: Any, substation: str, epoch: Any, offset_s: float) -> Entry | None:
    """One session; `offset_s` is the monotonic clock less the substation's Unix time. None where it is no record."""
    if not isinstance(record, dict) or (state := state_of(record.get("state", "charging"))) is None:
        return None
    request_id, ev_id, attempt = (record.get(key) for key in ("request_id", "ev_id", "attempt"))
    ended_s, reason = record.get("ended_s"), record.get("reason")
    ends_s = number(record.get("ends_s") if ended_s is None else ended_s, FURTHEST_S)
    if not (isinstance(request_id, str) and is_name(request_id) and isinstance(ev_id, str) and ev_id):
        return None
    if not (isinstance(attempt, int) and 1 <= attempt <= MOST_ATTEMPTS) or ends_s is None:
        return None
    found = Entry(request_id, ev_id, substation, attempt, ends_s + offset_s, epoch, state, sure=False)
    found.reason = reason if isinstance(reason, str) and reason else None
    return found
