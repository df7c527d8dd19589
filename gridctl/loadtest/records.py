"""What substations wrote down of a run, by `GET /sessions` of each, once, afterwards. Must not know pacing or figures."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from gridctl.loadtest.placement import Session
from gridctl.loadtest.target import Target, unread

RECORDS_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Records:
    """The sessions of each substation that could be read completely, and why the others could not.

    `until_s` is the wall-clock second up to which they tell everything.
    """

    sessions: Mapping[str, Sequence[Session]]
    missing: Mapping[str, str]
    until_s: float


async def read(
    http: aiohttp.ClientSession, target: Target, since_s: float, accepted: Mapping[str, int], prefix: str, now_s: float
) -> Records:
    """What each substation carried since `since_s` (wall-clock seconds).

    A substation's records are complete when they hold as many sessions of this run (request ids that begin with
    `prefix`) as clients were told of (`accepted`); one that restarted may have lost its own.
    """
    names = [name for name in target.substations if name in target.limits]
    read = await asyncio.gather(*(_read(http, target.substations[name], since_s, now_s) for name in names))
    sessions: dict[str, Sequence[Session]] = {}
    missing = unread(target, accepted)
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
