"""What the running substations of a cluster count, asked of each once. Must not judge it.

One that does not answer says nothing: that is no evidence against anybody.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException

from config.errors import GridError
from config.names import SUBSTATION
from config.report import HEADER, Report
from gridctl.audit.evidence import Counter
from gridctl.control import control_at
from gridctl.state import ClusterPaths

#: A substation that does not answer in time is not waited for (wall seconds).
TIMEOUT_S = 2.0
_AT_A_TIME = 16


def read(paths: ClusterPaths) -> list[Counter]:
    """The counters of every substation that answers; none where the cluster does not run."""
    try:
        processes = control_at(paths, TIMEOUT_S).snapshot()["processes"]
    except GridError:
        return []
    there = [
        (entry["name"], entry.get("host"), entry.get("port")) for entry in processes if entry["role"] == SUBSTATION
    ]
    return ask(each for each in there if each[1] and each[2])


def ask(substations: Iterable[tuple[str, str, int]]) -> list[Counter]:
    """The counters of those of `substations` (name, host, port) that answer."""
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return [counter for counter in pool.map(_ask, substations) if counter is not None]


def _ask(substation: tuple[str, str, int]) -> Counter | None:
    name, host, port = substation
    try:
        with closing(HTTPConnection(host, port, timeout=TIMEOUT_S)) as connection:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            report = Report.decode(answer.headers.get(HEADER, ""))
            accepted = int(json.loads(answer.read())["accepted_total"])
            return Counter(name, report.epoch, accepted, report.max_sessions, report.capacity_w)
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return None
