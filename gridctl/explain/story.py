"""All that is known of one request, as plain values and as JSON. Must not know where it comes from, or how it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Ring:
    """One balancer's memory: every decision since `since_s` (Unix time), the last `kept` at most, made by `policy`.

    `silent` says why it told nothing; "" where it did.
    """

    balancer: str
    since_s: float | None = None
    kept: int | None = None
    policy: str | None = None
    silent: str = ""


@dataclass(frozen=True, slots=True)
class Stay:
    """A session of the request at `substation`; `*_s` are Unix seconds. `source` is `journal` or `live`."""

    substation: str
    attempt: int
    power_kw: float
    started_s: float
    ends_s: float | None
    ended_s: float | None
    state: str
    reason: str
    source: str


@dataclass(frozen=True, slots=True)
class Revocation:
    """Attempts up to `attempt` shall not charge at `substation`.

    Known to whom: `by` is a balancer, which ordered it at `at_s` and was told at `acknowledged_s` that it arrived; or the
    substation itself, which heard of it at `at_s` (Unix seconds).
    """

    substation: str
    attempt: int
    at_s: float
    by: str
    acknowledged_s: float | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """`attempt` was sent to `substation` at `sent_s` (Unix seconds), and what became of it is not known to `balancer`."""

    balancer: str
    substation: str
    attempt: int
    sent_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """A place in the queue of `balancer`, taken at `queued_s`, left at `left_s` (Unix seconds) as `state` for `reason`."""

    balancer: str
    queued_s: float
    until_s: float
    state: str
    reason: str | None
    substation: str | None
    left_s: float | None


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of `request_id`.

    `decisions` are those of balancers' rings as `GET /decisions` tells them, with `balancer` in each, oldest first; `log`
    are the log records that name the request. `notes` say what could not be read.
    """

    request_id: str
    rings: tuple[Ring, ...] = ()
    decisions: tuple[Mapping[str, Any], ...] = ()
    stays: tuple[Stay, ...] = ()
    revocations: tuple[Revocation, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    waits: tuple[Wait, ...] = ()
    log: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether anybody knows anything of it."""
        return bool(self.decisions or self.stays or self.revocations or self.doubts or self.waits or self.log)

    @property
    def forgotten(self) -> bool:
        """Whether it is known, but no balancer remembers how it decided."""
        return self.known and not self.decisions

    @property
    def first_s(self) -> float | None:
        """When it is first heard of, outside balancers' memories (Unix seconds)."""
        moments = [stay.started_s for stay in self.stays] + [wait.queued_s for wait in self.waits]
        moments += [revocation.at_s for revocation in self.revocations] + [doubt.sent_s for doubt in self.doubts]
        moments += [datetime.fromisoformat(str(record["ts"])).timestamp() for record in self.log]
        return min(moments, default=None)

    def to_json(self) -> dict[str, Any]:
        """The document of `gridctl explain --json`; docs/json.md explains each key."""
        return {
            "request_id": self.request_id,
            "decisions": [dict(each) for each in self.decisions],
            "sessions": [asdict(each) for each in self.stays],
            "revocations": [asdict(each) for each in self.revocations],
            "doubts": [asdict(each) for each in self.doubts],
            "queue": [asdict(each) for each in self.waits],
            "log": [dict(each) for each in self.log],
            "rings": [asdict(each) for each in self.rings],
            "notes": list(self.notes),
        }
