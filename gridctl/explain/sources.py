"""Asks everybody who may know of a request: balancers, substations, journals, logs. Must not know how it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from config.errors import NotRunning
from config.names import BALANCER, SUBSTATION
from gridctl.control import control_at
from gridctl.explain.story import Doubt, Revocation, Ring, Stay, Story, Wait
from gridctl.logs.lines import parse
from gridctl.state import ClusterPaths
from services.balancer import journal as balancers
from services.journalfile import JournalError, open_to_read, rows
from services.substation import journal as substations

#: A service that is frozen must not hold up the others' answers (wall seconds).
TIMEOUT_S = 2.0
_AT_ONCE = 16
#: Of a request that was tried very often the newest log records are enough.
MOST_RECORDS = 100


class Service(NamedTuple):
    """A running service that may be asked."""

    name: str
    role: str
    url: str


class Records(NamedTuple):
    """What one journal holds of the request."""

    stays: tuple[Stay, ...] = ()
    revocations: tuple[Revocation, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    waits: tuple[Wait, ...] = ()
    note: str = ""


def gather(paths: ClusterPaths, request_id: str) -> Story:
    """All that the cluster at `paths`, running or stopped, knows of `request_id`."""
    services = _services(paths)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        told = list(pool.map(lambda service: _decisions(service, request_id), _of(services, BALANCER)))
        live = list(pool.map(lambda service: _live(service, request_id), _of(services, SUBSTATION)))
        found = list(pool.map(lambda file: journal(file, request_id), sorted(paths.data.glob("*.db"))))
    stays = [stay for records in found for stay in records.stays]
    journaled = {stay.substation for stay in stays}
    stays += [stay for stay in live if stay is not None and stay.substation not in journaled]
    decisions = [decision for _, several in told for decision in several]
    return Story(
        request_id=request_id,
        rings=tuple(ring for ring, _ in told),
        decisions=tuple(sorted(decisions, key=lambda decision: decision["began_s"])),
        stays=tuple(sorted(stays, key=lambda stay: stay.started_s)),
        revocations=tuple(each for records in found for each in records.revocations),
        doubts=tuple(each for records in found for each in records.doubts),
        waits=tuple(each for records in found for each in records.waits),
        log=tuple(sorted(logged(paths.logs, request_id), key=lambda record: str(record["ts"]))[-MOST_RECORDS:]),
        notes=tuple(records.note for records in found if records.note),
    )


def _services(paths: ClusterPaths) -> list[Service]:
    """Those that a running supervisor knows; none where the cluster is stopped."""
    try:
        entries = control_at(paths).snapshot()["processes"]
    except NotRunning:
        return []
    return [Service(entry["name"], entry["role"], entry["url"]) for entry in entries if entry["url"]]


def _of(services: list[Service], role: str) -> list[Service]:
    return [service for service in services if service.role == role]


def _decisions(balancer: Service, request_id: str) -> tuple[Ring, list[Mapping[str, Any]]]:
    status, told = _get(balancer.url, f"/decisions?request_id={request_id}")
    if status != 200:
        return Ring(balancer.name, silent=f"answered {status}" if status else "does not answer"), []
    ring = Ring(balancer.name, told["since_s"], told["kept"], told["policy"])
    return ring, [{"balancer": balancer.name, **decision} for decision in told["decisions"]]


def _live(substation: Service, request_id: str) -> Stay | None:
    status, told = _get(substation.url, f"/sessions/{request_id}")
    if status != 200:
        return None
    return Stay(
        substation=substation.name,
        attempt=told["attempt"],
        power_kw=told["power_kw"],
        started_s=told["started_s"],
        ends_s=told["ends_s"],
        ended_s=told["ended_s"],
        state=told["state"],
        reason=told.get("reason") or "",
        source="live",
    )


def _get(url: str, path: str) -> tuple[int, Any]:
    """Status and JSON of one answer; 0 where there is none that can be read."""
    address = urlsplit(url)
    with closing(HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_S)) as connection:
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, HTTPException, ValueError):
            return 0, None


def journal(file: Path, request_id: str) -> Records:
    """What the journal in `file`, of a substation or a balancer, holds of `request_id`."""
    name = file.name.removesuffix(".db")
    failures = []
    for read in (_substation, _balancer):
        try:
            return read(file, name, request_id)
        except JournalError as error:
            failures.append(error.detail)
        except FileNotFoundError:
            return Records()
    return Records(note=failures[0])


def _substation(file: Path, name: str, request_id: str) -> Records:
    with closing(open_to_read(file, substations.SCHEMA)) as connection:
        by_id = (request_id,)
        sessions = rows(connection, file, "SELECT * FROM sessions WHERE request_id = ? ORDER BY number", by_id)
        revoked = rows(connection, file, "SELECT attempt, unix_s FROM revocations WHERE request_id = ?", by_id)
        scales = rows(connection, file, "SELECT unix_s, time_scale FROM runs ORDER BY number")
    stays = tuple(_stay(name, substations.SessionRecord(*row), scales) for row in sessions)
    return Records(stays, tuple(Revocation(name, attempt, at_s, name) for attempt, at_s in revoked))


def _stay(name: str, record: substations.SessionRecord, scales: list[tuple[Any, ...]]) -> Stay:
    scale = next((scale for unix_s, scale in reversed(scales) if unix_s <= record.started_unix_s), None)
    ends_s = None if scale is None else record.started_unix_s + (record.ends_s - record.started_s) / scale
    return Stay(
        substation=name,
        attempt=record.attempt,
        power_kw=record.power_w / 1000,
        started_s=record.started_unix_s,
        ends_s=ends_s,
        ended_s=record.ended_unix_s,
        state=record.state,
        reason=record.reason,
        source="journal",
    )


def _balancer(file: Path, name: str, request_id: str) -> Records:
    by_id = (request_id,)
    columns = "substation, attempt, sent_s, revoked_s, acknowledged_s"
    places = "queued_s, until_s, state, reason, substation, left_s"
    with closing(open_to_read(file, balancers.SCHEMA)) as connection:
        attempts = rows(connection, file, f"SELECT {columns} FROM attempts WHERE request_id = ?", by_id)  # noqa: S608
        queue = rows(connection, file, f"SELECT {places} FROM queue WHERE request_id = ?", by_id)  # noqa: S608
    revoked = [
        Revocation(where, attempt, revoked_s, name, acknowledged_s)
        for where, attempt, _, revoked_s, acknowledged_s in attempts
        if revoked_s is not None
    ]
    doubts = [Doubt(name, where, attempt, sent_s) for where, attempt, sent_s, revoked_s, _ in attempts if not revoked_s]
    return Records((), tuple(revoked), tuple(doubts), tuple(Wait(name, *row) for row in queue))


def logged(folder: Path, request_id: str) -> Iterator[Mapping[str, Any]]:
    """The log records below `folder` that are about `request_id`, file by file."""
    word = request_id.encode()
    for file in sorted(folder.glob("*.log*")):
        try:
            with file.open("rb") as lines:
                found = [parse(line) for line in lines if word in line]
        except OSError:  # rotated away meanwhile
            continue
        yield from (
            record for parsed in found if parsed for record in [parsed[1]] if record.get("request_id") == request_id
        )
