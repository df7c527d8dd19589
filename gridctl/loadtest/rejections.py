"""How many refusals of a run were not needed, by the substations' own records. Must not know HTTP or how it is shown.

The definition and the evidence (journals, the supervisor's events, balancers' logs) are gridctl.audit's. Must not read them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gridctl.audit import rejections
from gridctl.audit.evidence import Evidence, Limit, Station, Stay
from gridctl.audit.verdict import Refused
from gridctl.loadtest.asked import Asked
from gridctl.loadtest.ideal import UNLIKE, Run, usual_power_w
from gridctl.loadtest.placement import Session

UNDATED = "a refusal does not tell when the request came and when it was refused"
NO_EVENTS = "nothing tells when substations could be reached"


def avoidable(run: Run, evidence: Evidence | None) -> tuple[int | None, str]:
    """The number, or None and why; `evidence` is what the cluster wrote down, None where that cannot be had."""
    asked = [each for each in run.asked if each.kind == "refused" and each.reason in rejections.FOR_WANT_OF_ROOM]
    if not asked:
        return 0, ""
    refused = list(_refused(asked, usual_power_w(run)))
    if isinstance(refused[-1], str):
        return None, refused[-1]
    if evidence is None or not all(name in evidence.stations for name in run.records):
        return None, NO_EVENTS
    stations = [_station(run, evidence.stations[name]) for name in run.records]
    dated = (each for each in refused if isinstance(each, Refused))
    return sum(1 for _ in rejections.avoidable(dated, stations, evidence.failed_tries)), ""


def limits_changed(run: Run, evidence: Evidence | None) -> str:
    """Whose limits changed during the run, by their journals; "" where nobody's did."""
    stations = {} if evidence is None else evidence.stations
    changed = [name for name in run.records if name in stations and _changed(stations[name], run.start_s)]
    return f"the limits of {', '.join(changed)} changed meanwhile" if changed else ""


def _changed(station: Station, since_s: float) -> bool:
    earlier = [limit for limit in station.limits if limit.since_s <= since_s][-1:]
    later = [limit for limit in station.limits if limit.since_s > since_s]
    return len({(limit.max_sessions, limit.capacity_w) for limit in (*earlier, *later)}) > 1


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


def _station(run: Run, written: Station) -> Station:
    """The substation as its journal has it; where it has none, by `GET /sessions` and the limits that it tells."""
    if written.limits and written.stays:
        return written
    limits = run.limits[written.name]
    limit = Limit(-math.inf, -math.inf, limits.max_sessions, limits.capacity_w)
    stays = [_stay(session, run.now_s) for session in run.records[written.name]]
    return Station(written.name, stays, (limit,), written.present)


def _stay(session: Session, now_s: float) -> Stay:
    end_s = math.inf if session.end_s >= now_s else session.end_s
    return Stay(session.request_id, 1, session.power_w, session.start_s, end_s, session.start_s, end_s, end_s)
