"""A verdict for a reader. Must not know how it was reached. Plain lines, cut to no width, without colours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from gridctl.audit.verdict import Promise, Verdict, Violation

#: So many offenders of one promise are shown; all are in the JSON.
SHOWN = 20

PROMISES: dict[Promise, str] = {
    "I1": "no session began above a limit",
    "I2": "no request had two sessions at once that were not revoked",
    "I3": "nothing that was answered 202 was lost",
    "avoidable-rejection": "nothing was refused while one reachable substation had room all the time",
}
#: What each promise is judged by, of a verdict's counts.
_JUDGED_BY: dict[Promise, str] = {
    "I1": "sessions",
    "I2": "sessions",
    "I3": "answers",
    "avoidable-rejection": "refusals",
}


def lines(verdict: Verdict) -> Iterator[str]:
    """The verdict, a line at a time."""
    yield "checked     " + ", ".join(f"{count} {kind}" for kind, count in verdict.checked.items())
    for promise, words in PROMISES.items():
        yield from _promise(verdict, promise, words)
    for overlap in verdict.overlaps[:SHOWN]:
        lasted_s = overlap.end_s - overlap.start_s
        yield (
            f"overlap     {_clock(overlap.start_s)} {overlap.request_id}: revoked at {overlap.revoked_at}, {lasted_s:.3f} s "
            f"beside {overlap.kept_at}, {overlap.reachable_s:.3f} s of it reachable"
        )
    if len(verdict.overlaps) > SHOWN:
        yield f"            … and {len(verdict.overlaps) - SHOWN} more overlaps with revoked sessions"
    yield from (f"unread      {each}" for each in verdict.unread)
    yield from (f"note        {each}" for each in verdict.notes)


def _promise(verdict: Verdict, promise: Promise, words: str) -> Iterator[str]:
    broken = [each for each in verdict.violations if each.promise == promise]
    title = "refusals" if promise == "avoidable-rejection" else promise
    if broken:
        yield f"{title:<10}  BROKEN {len(broken)} times: {words}"
    elif not verdict.checked.get(_JUDGED_BY[promise]):
        yield f"{title:<10}  nothing to check: {words}"
    else:
        yield f"{title:<10}  kept: {words}"
    yield from (_offender(each) for each in broken[:SHOWN])
    if len(broken) > SHOWN:
        yield f"            … and {len(broken) - SHOWN} more: --json has all"


def _offender(broken: Violation) -> str:
    who = " ".join(part for part in (broken.substation, broken.request_id) if part)
    return f"            {_clock(broken.at_s)} {who}: expected: {broken.expected}; found: {broken.found}"


def _clock(at_s: float) -> str:
    """Local time of day to the millisecond, as log views have it."""
    return datetime.fromtimestamp(at_s).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
