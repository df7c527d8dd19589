"""What a balancer answers when it places nothing, as problems. Must not know how it tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from config.problems import FieldFault, Problem
from services.journal import JournalError

#: When to ask again where no planned end tells (wall seconds).
UNKNOWN_RETRY_S = 1.0
#: Reasons that balancers tell each other, or themselves: the request belongs to another one (now).
MOVED = "moved"
NOT_OWNER = "not-owner"


def grid_full(retry_after_s: float | None, earliest_end_in_s: float | None) -> Problem:
    """503: every substation that can be asked has no room. Both times are wall seconds from now, None where unknown.

    `retry_after_s` is when this request fits if nobody else comes, `earliest_end_in_s` the earliest planned end.
    """
    return Problem(
        503,
        "every substation is full",
        "grid-full",
        retry_after_s=UNKNOWN_RETRY_S if retry_after_s is None else max(0.0, retry_after_s),
        extra={"earliest_end_in_s": earliest_end_in_s},
    )


def dated(problem: Problem, between: Mapping[str, float]) -> Problem:
    """A 503 with `arrived_s` and `refused_s` (Unix seconds): whether anybody had room `between` them can be looked up."""
    return replace(problem, extra={**problem.extra, **between}) if problem.status == 503 else problem


def queue_full(limit: int) -> Problem:
    """503: so many wait already that nobody more is let in."""
    return Problem(503, f"every substation is full, and {limit} requests wait already", "queue-full", retry_after_s=1.0)


def ev_is_queued(ev_id: str, request_id: str) -> Problem:
    """409: this EV waits under another request."""
    detail = f"EV {ev_id} is waiting for a place already, under another request"
    return Problem(409, detail, "ev-is-queued", extra={"queued_request_id": request_id})


def unknown_request(request_id: str) -> Problem:
    """404: this balancer knows no such request, or no longer."""
    return Problem(404, f"no request {request_id} is known, or it was over long ago", "unknown-request")


def not_told(substation: str, detail: str) -> Problem:
    """503: the substation could not be told that the session shall end."""
    detail = f"{substation} was not reached and charges on ({detail}); ask again"
    return Problem(503, detail, "substation-silent", retry_after_s=UNKNOWN_RETRY_S)


def not_ours(substation: str) -> Problem:
    """409: a session at an external substation, or at one that left the grid, ends by itself only."""
    return Problem(409, f"{substation} cannot be told to end a session", "not-cancellable")


def no_substations() -> Problem:
    """503: none is discovered."""
    detail = "no substation is known; the targets file, or SUBSTATIONS, names none"
    return Problem(503, detail, "no-substations", retry_after_s=UNKNOWN_RETRY_S)


def unreachable(tried: int) -> Problem:
    """503: nobody could be connected to, or answers that can be used."""
    detail = f"no substation can be reached or takes sessions ({tried} asked now)"
    return Problem(503, detail, "substations-unreachable", retry_after_s=UNKNOWN_RETRY_S)


def all_draining() -> Problem:
    """503: those that are known take no new sessions."""
    return Problem(503, "all substations are draining", "draining", retry_after_s=UNKNOWN_RETRY_S)


def recovering() -> Problem:
    """503: since this balancer started it has not collected yet what runs at every substation that can be reached."""
    detail = "the balancer has started and is still asking the substations what runs there"
    return Problem(503, detail, "recovering", retry_after_s=UNKNOWN_RETRY_S)


def moved() -> Problem:
    """503: the EV became another balancer's before anything was started for it here; nobody else is ever told."""
    return Problem(503, "this EV is another balancer's now", MOVED, retry_after_s=UNKNOWN_RETRY_S)


def not_owner(owner: str) -> Problem:
    """503, to another balancer: as this one sees it, the EV belongs to the balancer at `owner`."""
    return Problem(
        503, "this EV is another balancer's", NOT_OWNER, retry_after_s=UNKNOWN_RETRY_S, extra={"owner": owner}
    )


def no_owner() -> Problem:
    """503: which balancer places this EV's requests was not settled, or that one did not answer, within the time."""
    detail = "the balancers are taking over from each other; the same request_id may be sent again"
    return Problem(503, detail, "recovering", retry_after_s=UNKNOWN_RETRY_S)


def nobody_knows(request_id: str) -> Problem:
    """503: no balancer that answers knows this request, and one that may know it does not answer."""
    detail = f"request {request_id} is not known here, and another balancer that may know it does not answer"
    return Problem(503, detail, "recovering", retry_after_s=UNKNOWN_RETRY_S)


def unread(error: JournalError) -> Problem:
    """503: what a former run left cannot be read, so nobody knows what must not happen."""
    detail = f"the balancer places nothing: {error.detail}"
    return Problem(503, detail, error.reason, retry_after_s=UNKNOWN_RETRY_S)


def unwritten(error: JournalError) -> Problem:
    """503: what must be journaled first cannot be."""
    detail = f"the balancer's journal cannot be written: {error.detail}"
    return Problem(503, detail, error.reason, retry_after_s=UNKNOWN_RETRY_S)


def out_of_time() -> Problem:
    """504: those that were asked did not answer within the time that the request may take."""
    return Problem(504, "no substation answered in time", "timeout", retry_after_s=UNKNOWN_RETRY_S)


def over_capacity() -> Problem:
    """422: no substation would have room for this, even when empty."""
    fault = FieldFault("power_kw", "is more than the whole capacity of every substation")
    return Problem(422, "no substation can ever take this", "over-capacity", (fault,))


def ev_is_charging(ev_id: str, request_id: str, ends_in_s: float) -> Problem:
    """409: this EV charges under another request, for `ends_in_s` more wall seconds by plan."""
    detail = f"EV {ev_id} is charging already, under another request"
    return Problem(409, detail, "ev-is-charging", extra={"charging_request_id": request_id, "ends_in_s": ends_in_s})


def request_over(request_id: str, state: str, reason: str | None) -> Problem:
    """409: this request was cancelled or dropped before; another one needs an id of its own."""
    detail = f"request {request_id} was {state} before; ask again with a new request_id"
    return Problem(409, detail, "request-over", extra={"state": state, "why": reason})


def request_id_taken() -> Problem:
    """409: this request_id belongs to another EV."""
    return Problem(409, "this request_id belongs to another EV's request", "request-id-taken")


def busy() -> Problem:
    """503: more requests are being placed than this balancer holds."""
    detail = "the balancer places too many requests at a time"
    return Problem(503, detail, "busy", retry_after_s=UNKNOWN_RETRY_S)
