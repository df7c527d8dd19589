"""What a substation says, as JSON-able values; must not know HTTP servers or how it was decided."""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from config.problems import FieldFault, Problem, whole_seconds
from config.settings import SubstationSettings
from services.clock import Clock
from services.journal import JournalError
from services.substation.admission import Refused, Started
from services.substation.session import Session

#: When to ask a draining substation again, or a derated one (wall seconds): nobody knows for how long it is so.
DRAINING_RETRY_S = 5.0
#: When to ask one again whose journal cannot be used (wall seconds).
JOURNAL_RETRY_S = 1.0


def started(outcome: Started, name: str, now_s: float) -> dict[str, Any]:
    """The body of a 202; `ends_in_s` are grid seconds from now, so a repeated request is told what remains."""
    session = outcome.session
    return {
        "response": {"status": "charging started", "vehicle_id": session.ev_id},
        "request_id": session.request_id,
        "routed_to": name,
        "ends_in_s": max(0.0, session.ends_s - now_s),
        "power_kw": session.power_w / 1000,
    }


def started_json(session: Session, quoted_name: str, now_s: float) -> bytes:
    """`started` as JSON, from its pieces, of which `quoted_name` is one: most of what is answered is this."""
    left_s = session.ends_s - now_s
    text = (
        f'{{"response":{{"status":"charging started","vehicle_id":{_quoted(session.ev_id)}}},'
        f'"request_id":{_quoted(session.request_id)},"routed_to":{quoted_name},'
        f'"ends_in_s":{left_s if left_s > 0.0 else 0.0!r},"power_kw":{session.power_w / 1000!r}}}'
    )
    return text.encode()


def refusal(outcome: Refused, settings: SubstationSettings, time_scale: float) -> Problem:
    """The problem that `outcome` is answered with; `retry_after_s` in wall seconds."""
    name, reason = settings.name, outcome.reason
    if reason == "substation-full":
        detail = f"{name} has no room for this now"
        if outcome.retry_after_s is None:  # the body names exact instants only: balancers reckon with them
            return Problem(503, detail, reason, headers={"Retry-After": str(whole_seconds(DRAINING_RETRY_S))})
        return Problem(503, detail, reason, retry_after_s=outcome.retry_after_s / time_scale)
    if reason == "draining":
        detail = f"{name} takes no new sessions, it is being drained"
        return Problem(503, detail, reason, retry_after_s=DRAINING_RETRY_S)
    if reason == "over-capacity":
        fault = FieldFault("power_kw", f"is more than all of {name}'s capacity, {settings.capacity_kw} kW")
        detail = f"{name} can never take this"
        return Problem(422, detail, reason, (fault,), extra={"capacity_kw": settings.capacity_kw})
    if reason == "revoked":
        return Problem(410, "this attempt was revoked before", reason)
    return Problem(409, "this request_id belongs to another EV's session", reason)


def unkept(name: str, error: JournalError) -> Problem:
    """The problem of a charge that cannot be written down; `journal` is the reason's reason."""
    detail = f"{name} takes no new sessions: {error.detail}"
    return Problem(503, detail, "journal-unavailable", retry_after_s=JOURNAL_RETRY_S, extra={"journal": error.reason})


def starting(name: str) -> Problem:
    """The problem of everything that is asked of a substation before it knows what it has."""
    detail = f"{name} is reading its journal, and does not know yet what it has"
    return Problem(503, detail, "starting", retry_after_s=JOURNAL_RETRY_S)


def ended_unix_s(session: Session, clock: Clock) -> float:
    """When `session`, which is over, ended."""
    return clock.unix_s(session.ended_s or 0.0) if session.ended_unix_s is None else session.ended_unix_s


def record(session: Session, clock: Clock) -> dict[str, Any]:
    """A session as `/sessions` shows it; `*_s` are Unix seconds."""
    started_unix_s = session.started_unix_s
    return {
        "request_id": session.request_id,
        "ev_id": session.ev_id,
        "attempt": session.attempt,
        "power_kw": session.power_w / 1000,
        "started_s": clock.unix_s(session.started_s) if started_unix_s is None else started_unix_s,
        "ends_s": clock.unix_s(session.ends_s),
        "ended_s": None if session.ended_s is None else ended_unix_s(session, clock),
        "energy_kwh": round(session.delivered_kwh(clock.grid_s()), 6),
        "state": session.state,
        "reason": session.reason or None,
    }


def element(answer: dict[str, Any] | Problem) -> dict[str, Any]:
    """`answer` in an array."""
    if isinstance(answer, Problem):
        return {"status_code": answer.status, **answer.body()}
    return {"status_code": 202, **answer}
