"""Gathers what a cluster wrote down into Evidence: journals, events, logs. Must not judge it.

Everything is only read, also while its writers write: balancers' journals first, then substations', so that what moves
from a queue into a session meanwhile is seen at least once.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from config.names import BALANCER, EXTERNAL, SUBSTATION
from gridctl.audit import counters, trails
from gridctl.audit.evidence import Counter, Evidence, Limit, Presence, Revocation, Station, Stay, Wait
from gridctl.audit.presence import presences
from gridctl.audit.verdict import Answered, Refused
from gridctl.clusters import running
from gridctl.state import ClusterPaths
from services.balancer import journal as balancer_journal
from services.journalfile import JournalError
from services.substation import journal as substation_journal
from services.substation.journal import Contents, Run, SessionRecord
from services.substation.records import KEPT

T = TypeVar("T")
_KEPT = balancer_journal.KEPT


@dataclass(slots=True)
class Gathered:
    """The evidence, what could not be read of it, and what is worth saying besides."""

    evidence: Evidence
    unread: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def gather(
    paths: ClusterPaths,
    answered: Sequence[Answered],
    refused: Sequence[Refused],
    since_s: float = 0.0,
    unix_s: Callable[[], float] = time.time,
) -> Gathered:
    """All that is written down of the cluster of `paths`, and what clients were told; of logs only from `since_s` on."""
    changes = trails.changes(paths.events)
    there = presences(changes, running(paths))
    roles = {change.name: change.role for change in changes if change.name}
    served = {change.name for change in changes if change.state == "READY" and change.role == SUBSTATION}
    trail = trails.balancers(paths.logs, since_s)
    found = Gathered(Evidence(0.0))
    counted = {counter.substation: counter for counter in counters.read(paths)}
    books = dict(_journals(paths, roles, BALANCER, balancer_journal.read, found.unread))
    journals = dict(_journals(paths, roles, SUBSTATION, substation_journal.read, found.unread))
    unused = {name for name in served if not (paths.data / f"{name}.db").exists()}
    now_s = unix_s()
    stations = {name: _station(name, one, there.get(name), now_s) for name, one in journals.items()}
    stations |= {name: _unused(name, there.get(name), counted.get(name)) for name in sorted(unused)}
    waits = [wait for name, book in books.items() for wait in _waits(name, book)]
    found.evidence = Evidence(
        now_s=now_s,
        stations=stations,
        balancers={name: there[name] for name, role in roles.items() if role == BALANCER},
        waits=waits,
        revocations=[each for name, book in books.items() for each in _revocations(name, book)],
        answered=[*answered, *_answers(books)],
        refused=_once([*trail.refused, *refused]),
        failed_tries=trail.failed_tries,
        external=frozenset(name for name, role in roles.items() if role == EXTERNAL),
        counters=list(counted.values()),
        waits_since_s=max(
            (_since_s([p.left_s for p in book.queue], _KEPT) for book in books.values()), default=-math.inf
        ),
    )
    found.notes += _notes(found.evidence)
    return found


def _journals(
    paths: ClusterPaths, roles: Mapping[str, str], role: str, read: Callable[[Path], T], unread: list[str]
) -> Iterator[tuple[str, T]]:
    """Name and contents of every journal of a `role`; what cannot be read is named in `unread`.

    Who had nothing to write has none: a balancer without doubts, a substation without a session.
    """
    for path in sorted(paths.data.glob("*.db")):
        name = path.stem
        if roles.get(name, BALANCER if name.rstrip("0123456789") == BALANCER else SUBSTATION) != role:
            continue
        try:
            yield name, read(path)
        except FileNotFoundError:
            continue  # deleted meanwhile
        except JournalError as error:
            unread.append(f"{name}: {error.detail}")


def _unused(name: str, present: Presence | None, counter: Counter | None) -> Station:
    """A substation without a journal: it never had a session. What it might carry, it says itself while it runs."""
    if counter is None:
        return Station(name, present=present or Presence())
    limit = Limit(-math.inf, -math.inf, counter.max_sessions, counter.capacity_w)
    return Station(name, (), (limit,), present or Presence(), {counter.epoch: 0})


def _station(name: str, journal: Contents, present: Presence | None, now_s: float) -> Station:
    clock = _Clock(journal.runs)
    stays = [_stay(record, clock, now_s) for record in sorted(journal.sessions, key=lambda record: record.number)]
    limits = [
        Limit(own.unix_s, own.grid_s, own.max_sessions, own.capacity_w, own.admitting, own.hard_limit)
        for own in journal.limits
    ]
    since_s = _since_s([record.ended_unix_s for record in journal.sessions], KEPT)
    begun = {} if math.isfinite(since_s) else _begun(journal)
    return Station(name, stays, limits, present or Presence(), begun, since_s)


def _since_s(ends_s: Iterable[float | None], kept: int) -> float:
    """From when on all that ended is remembered, where only the newest `kept` are."""
    over = [end_s for end_s in ends_s if end_s is not None]
    return min(over) if len(over) >= kept else -math.inf


def _begun(journal: Contents) -> dict[int, int]:
    """How many sessions began in each run, by its epoch."""
    since = [run.grid_s for run in journal.runs]
    counts = dict.fromkeys((run.epoch for run in journal.runs), 0)
    for record in journal.sessions:
        index = bisect_right(since, record.started_s) - 1
        if index >= 0:
            counts[journal.runs[index].epoch] += 1
    return counts


def _stay(record: SessionRecord, clock: _Clock, now_s: float) -> Stay:
    """The session; one whose planned end is past has ended, though its substation may not have written that yet."""
    state, end_grid_s, end_s = record.state, record.ended_s, record.ended_unix_s
    if end_grid_s is None and record.ends_s <= clock.grid_s(now_s):
        state, end_grid_s = "ended", record.ends_s
    if end_s is None and end_grid_s is not None:
        end_s = clock.unix_s(end_grid_s)
    return Stay(
        request_id=record.request_id,
        attempt=record.attempt,
        power_w=record.power_w,
        start_s=record.started_unix_s,
        end_s=math.inf if end_s is None else end_s,
        start_grid_s=record.started_s,
        end_grid_s=math.inf if end_grid_s is None else end_grid_s,
        planned_end_grid_s=record.ends_s,
        state=state,
        reason=record.reason,
    )


@dataclass(frozen=True, slots=True)
class _Clock:
    """Grid and Unix time of one substation, by its runs; before the first and after the last they go on alike."""

    runs: Sequence[Run]

    def grid_s(self, unix_s: float) -> float:
        run = next((run for run in reversed(self.runs) if run.unix_s <= unix_s), None)
        return -math.inf if run is None else run.grid_s + (unix_s - run.unix_s) * run.time_scale

    def unix_s(self, grid_s: float) -> float:
        run = next((run for run in reversed(self.runs) if run.grid_s <= grid_s), None)
        return math.inf if run is None else run.unix_s + (grid_s - run.grid_s) / run.time_scale


#: One that `moved` is another balancer's since: a session, or a place in its queue, must be found for it too.
_STATES: Mapping[str, Literal["waiting", "cancelled", "dropped"]] = {
    "queued": "waiting",
    "cancelled": "cancelled",
    "dropped": "dropped",
}


def _waits(name: str, book: balancer_journal.Contents) -> Iterator[Wait]:
    for place in book.queue:
        yield Wait(
            request_id=place.request_id,
            balancer=name,
            since_s=place.queued_s,
            until_s=math.inf if place.left_s is None else place.left_s,
            departure_s=place.until_s,
            state=_STATES.get(place.state, "placed"),
            reason=place.reason or "",
        )


def _revocations(name: str, book: balancer_journal.Contents) -> Iterator[Revocation]:
    for attempt in book.attempts:
        if attempt.revoked_s is not None:
            yield Revocation(attempt.request_id, attempt.substation, attempt.attempt, attempt.revoked_s, name)


def _answers(books: Mapping[str, balancer_journal.Contents]) -> Iterator[Answered]:
    """Whoever has, or had, a place in a queue was answered 202."""
    for book in books.values():
        for place in book.queue:
            yield Answered(place.request_id, place.queued_s)


def _once(refused: Iterable[Refused]) -> list[Refused]:
    """Each refusal once, though its balancer logged it and its client tells of it."""
    return list({(each.request_id, each.arrived_s): each for each in refused}.values())


def _notes(evidence: Evidence) -> Iterator[str]:
    soft = sorted(name for name, one in evidence.stations.items() if any(not limit.hard for limit in one.limits))
    if soft:
        yield f"I1 is off at {', '.join(soft)}: hard_limit is false there, for teaching, and every session is taken"
    unknown = sorted(name for name, one in evidence.stations.items() if not one.limits)
    if unknown and evidence.refused:
        yield f"{', '.join(unknown)}: no session and so no journal, limits unknown; refusals are judged without it"
    if math.isfinite(evidence.complete_since_s):
        since = datetime.fromtimestamp(evidence.complete_since_s).astimezone().isoformat(" ", "seconds")
        yield f"journals keep the newest records only: what was over before {since} may be forgotten, and is not judged"
    if evidence.external:
        yield f"nothing is promised of what is external: {', '.join(sorted(evidence.external))}"
