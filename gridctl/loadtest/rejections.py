"""How many refusals of a run were not needed, by the substations' own records. Must not know HTTP or how it is shown.

The definition is gridctl.audit.rejections'; the evidence is what a load test can see: `GET /sessions`, the supervisor's
events and the balancers' logs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from gridctl.audit import presence, rejections, trails
from gridctl.audit.evidence import Limit, Presence, Station, Stay
from gridctl.audit.verdict import Refused
from gridctl.clusters import running
from gridctl.loadtest.asked import Asked
from gridctl.loadtest.ideal import UNLIKE, Run, usual_power_w
from gridctl.loadtest.placement import Session
from gridctl.state import ClusterPaths

UNDATED = "a refusal does not tell when the request came and when it was refused"
NO_EVENTS = "nothing tells when substations could be reached"


def avoidable(run: Run, paths: ClusterPaths | None) -> tuple[int | None, str]:
    """The number, or None and why; `paths` is where the cluster writes down what happens to its processes."""
    asked = [each for each in run.asked if each.kind == "refused" and each.reason in rejections.FOR_WANT_OF_ROOM]
    if not asked:
        return 0, ""
    refused = list(_refused(asked, usual_power_w(run)))
    if isinstance(refused[-1], str):
        return None, refused[-1]
    there = {} if paths is None else presence.presences(trails.changes(paths.events), running(paths))
    if paths is None or not all(name in there for name in run.records):
        return None, NO_EVENTS
    stations = _stations(run, there)
    failed = trails.balancers(paths.logs, run.start_s).failed_tries
    dated = (each for each in refused if isinstance(each, Refused))
    return sum(1 for _ in rejections.avoidable(dated, stations, failed)), ""


def _refused(asked: Sequence[Asked], usual_w: int | None) -> Iterator[Refused | str]:
    """What is judged; ends with the reason why one cannot be."""
    for each in asked:
        power_w = usual_w if each.power_w is None else each.power_w
        if each.arrived_s is None or each.refused_s is None:
            yield UNDATED
            return
        if power_w is None:
            yield UNLIKE
            return
        yield Refused(each.request_id, each.arrived_s, each.refused_s, power_w, each.reason)


def _stations(run: Run, there: Mapping[str, Presence]) -> list[Station]:
    found = []
    for name, sessions in run.records.items():
        limits = run.limits[name]
        limit = Limit(-math.inf, -math.inf, limits.max_sessions, limits.capacity_w)
        stays = [_stay(session, run.now_s) for session in sessions]
        found.append(Station(name, stays, (limit,), there[name]))
    return found


def _stay(session: Session, now_s: float) -> Stay:
    end_s = math.inf if session.end_s >= now_s else session.end_s
    return Stay(session.request_id, 1, session.power_w, session.start_s, end_s, session.start_s, end_s, end_s)
