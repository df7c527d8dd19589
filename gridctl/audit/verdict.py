"""What an audit is told and what it says. Plain values; must not know where records come from, or how they are judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from config.errors import NotReady

#: The promises: I1 no limit exceeded, I2 one session a request, I3 nothing lost, and no refusal that was not needed.
Promise = Literal["I1", "I2", "I3", "avoidable-rejection"]

#: What promises are about; the other counts of a verdict say where it was looked for.
JUDGED = ("sessions", "answers", "refusals")


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that a client was answered 202, at `at_s` (Unix seconds).

    `substation` is the answer's `routed_to`; None where it said `queued`, or did not tell.
    """

    request_id: str
    at_s: float
    substation: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that was refused for want of room: it reached a balancer at `arrived_s`, was refused at `refused_s` (Unix).

    `power_w` is what it asked for, in watts.
    """

    request_id: str
    arrived_s: float
    refused_s: float
    power_w: int
    reason: str = "grid-full"


@dataclass(frozen=True, slots=True)
class Violation:
    """One promise that was not kept, at `at_s` (Unix seconds); what was `expected` there and what was `found`, as sentences.

    `request_id` and `substation` name the offender, "" where there is none.
    """

    promise: Promise
    at_s: float
    request_id: str
    substation: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two sessions of one request at once, one of which was revoked: no violation where that was made good in time.

    From `start_s` to `end_s` (Unix seconds); `revoked_at` and `kept_at` are their substations. Its substation was
    reachable for `reachable_s` seconds of it without a break.
    """

    request_id: str
    revoked_at: str
    kept_at: str
    start_s: float
    end_s: float
    reachable_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an audit found: `checked` counts what was looked at, `notes` says what is not promised or could not be read.

    `unread` are records that should be there and could not be read: without them nothing is proven.
    """

    violations: Sequence[Violation] = ()
    checked: Mapping[str, int] = field(default_factory=dict)
    overlaps: Sequence[Overlap] = ()
    unread: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def nothing_checked(self) -> bool:
        """Whether there was nothing to judge, no session, answer or refusal: that proves nothing."""
        return not any(self.checked.get(kind) for kind in JUDGED)

    @property
    def ok(self) -> bool:
        """Whether every promise was proven: something was checked, all of it could be read, and no offender was found."""
        return not (self.violations or self.unread or self.nothing_checked)

    def check(self) -> None:
        """NotReady (exit 4) unless all is well."""
        if self.violations:
            raise NotReady(f"the audit found {len(self.violations)} broken promises")
        if self.unread:
            raise NotReady("the audit proves nothing: " + "; ".join(self.unread))
        if self.nothing_checked:
            raise NotReady("the audit proves nothing: there was no session, answer or refusal to check")

    def to_json(self) -> dict[str, Any]:
        """The document of `gridctl audit --json`."""
        return {
            "ok": self.ok,
            "violations": [_plain(violation) for violation in self.violations],
            "checked": dict(self.checked),
            "overlaps": [_plain(overlap) for overlap in self.overlaps],
            "unread": list(self.unread),
            "notes": list(self.notes),
        }


def _plain(value: Violation | Overlap) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
