"""What is loaded: a running cluster and the records of its substations, or any server with POST /charge.

Must not know pacing or figures. Records come from `GET /sessions` of each substation, once, after the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from config.errors import GridError
from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from gridctl.loadtest.placement import Limits, Session
from gridctl.state import ClusterPaths

RECORDS_TIMEOUT_S = 30.0

#: Why nobody could be asked: it left a cluster that runs here; or no cluster is known, only a server that named it.
_GONE = "it was gone before its records were read"
_UNKNOWN = "its records cannot be read from here: the target is a URL, and its substations' addresses are not known"


@dataclass(frozen=True, slots=True)
class Target:
    """Where EVs are sent: `url` is the whole one, with its path; `time_scale` grid seconds per wall second.

    `substations` are those that keep records (name → URL), `limits` those of every substation that tells them.
    `names` are all substations, external ones too; empty for a server that is no cluster. `balancers` are name → URL,
    `paths` says where the cluster writes things down, None where that is not known.
    """

    url: str
    time_scale: float
    cluster: str = ""
    names: tuple[str, ...] = ()
    substations: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)
    balancers: Mapping[str, str] = field(default_factory=dict)
    paths: ClusterPaths | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """The sessions of each substation that could be read completely, and why the others could not.

    `until_s` is the wall-clock second up to which they tell everything.
    """

    sessions: Mapping[str, Sequence[Session]]
    missing: Mapping[str, str]
    until_s: float


def from_url(url: str, time_scale: float) -> Target:
    """A server at `url`, of which nothing is known but POST /charge; a URL with a path of its own is taken as it is."""
    host_end = url.find("/", url.find("://") + 3)
    bare = host_end < 0 or url[host_end:] == "/"
    return Target(url.rstrip("/") + "/charge" if bare else url, time_scale)


def from_snapshot(snapshot: Mapping[str, Any]) -> Target:
    """The cluster that a supervisor's snapshot describes; GridError when its request service has no address."""
    processes = snapshot["processes"]
    urls = [entry["url"] for entry in processes if entry["role"] == CHARGE_REQUEST and entry["url"]]
    cluster = snapshot["cluster"]
    if not urls:
        raise GridError(f"cluster {cluster['name']!r} has no charge-request service", "see gridctl ps")
    substations = snapshot["substations"]
    return Target(
        url=urls[0].rstrip("/") + "/charge",
        time_scale=float(cluster["time_scale"]),
        cluster=cluster["name"],
        names=tuple(entry["name"] for entry in substations),
        substations={entry["name"]: entry["url"] for entry in processes if entry["role"] == SUBSTATION},
        limits={entry["name"]: _limits(entry) for entry in substations if entry.get("max_sessions")},
        balancers={entry["name"]: entry["url"] for entry in processes if entry["role"] == BALANCER and entry["url"]},
        paths=_paths(cluster.get("state_dir")),
    )


def _paths(folder: str | None) -> ClusterPaths | None:
    return None if folder is None else ClusterPaths(Path(folder).parent, Path(folder).name)


def merged(before: Target, after: Target) -> Target:
    """The target of a whole run: also what was there only at its beginning, or only at its end."""
    return Target(
        url=before.url,
        time_scale=before.time_scale,
        cluster=before.cluster,
        names=tuple(dict.fromkeys((*before.names, *after.names))),
        substations={**before.substations, **after.substations},
        limits={**before.limits, **after.limits},
        balancers={**before.balancers, **after.balancers},
        paths=before.paths,
    )


def _limits(entry: Mapping[str, Any]) -> Limits:
    kw = entry.get("capacity_kw")
    return Limits(int(entry["max_sessions"]), None if kw is None else round(kw * 1000))


async def records(
    http: aiohttp.ClientSession, target: Target, since_s: float, accepted: Mapping[str, int], prefix: str, now_s: float
) -> Records:
    """What each substation carried since `since_s` (wall-clock seconds).

    A substation's records are complete when they hold as many sessions of this run (request ids that begin with
    `prefix`) as clients were told of (`accepted`); one that restarted may have lost its own.
    """
    names = [name for name in target.substations if name in target.limits]
    read = await asyncio.gather(*(_read(http, target.substations[name], since_s, now_s) for name in names))
    sessions: dict[str, Sequence[Session]] = {}
    why = _GONE if target.names else _UNKNOWN
    missing = {name: why for name in accepted if name and name not in target.names}
    for name, found in zip(names, read, strict=True):
        if isinstance(found, str):
            missing[name] = found
            continue
        own = sum(session.request_id.startswith(prefix) for session in found)
        if own < accepted.get(name, 0):
            missing[name] = f"it records {own} of {accepted[name]} sessions that began there: did it restart?"
        else:
            sessions[name] = found
    return Records(sessions, missing, now_s)


async def _read(http: aiohttp.ClientSession, url: str, since_s: float, now_s: float) -> list[Session] | str:
    """The sessions of one substation, or why they cannot be had."""
    try:
        async with asyncio.timeout(RECORDS_TIMEOUT_S):
            params = {"ended": "1", "since_s": repr(since_s)}
            async with http.get(f"{url.rstrip('/')}/sessions", params=params) as response:
                if response.status != 200:
                    return f"it answered {response.status} when asked for its records"
                document = await response.json(content_type=None)
        return [_session(entry, now_s) for entry in document["sessions"]]
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return f"it does not answer ({type(error).__name__})"
    except (ValueError, KeyError, TypeError) as error:
        return f"its records cannot be read ({type(error).__name__}: {error})"


def _session(entry: Mapping[str, Any], now_s: float) -> Session:
    started_s, ended_s = float(entry["started_s"]), entry["ended_s"]
    return Session(
        request_id=str(entry["request_id"]),
        start_s=started_s,
        end_s=max(now_s, started_s) if ended_s is None else float(ended_s),
        power_w=round(entry["power_kw"] * 1000),
        planned_s=float(entry["ends_s"]) - started_s,
    )
