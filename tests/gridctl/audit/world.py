"""Small records for audits, and an honest grid that is simulated without any code of the real one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from gridctl.audit.evidence import Evidence, Limit, Station, Stay
from gridctl.audit.verdict import Answered, Refused

KW = 7_400
FOREVER = math.inf


def stay(start_s: float, end_s: float = FOREVER, request_id: str = "r1", **more: Any) -> Stay:
    """A session from `start_s` to `end_s`; ended as planned unless `more` says otherwise. Grid time is Unix time."""
    state = "charging" if end_s == FOREVER else "ended"
    planned_s = start_s + 30 if end_s == FOREVER else end_s
    values: dict[str, Any] = {
        "request_id": request_id,
        "attempt": 1,
        "power_w": KW,
        "start_s": start_s,
        "end_s": end_s,
        "start_grid_s": start_s,
        "end_grid_s": end_s,
        "planned_end_grid_s": planned_s,
        "state": state,
    }
    return Stay(**{**values, **more})


def limit(sessions: int, capacity_w: int | None = None, since_s: float = -math.inf, **more: Any) -> Limit:
    """A limit from `since_s` on."""
    return Limit(since_s, since_s, sessions, capacity_w, **more)


def station(*stays: Stay, name: str = "s1", limits: tuple[Limit, ...] = (limit(10),), **more: Any) -> Station:
    """A substation with these sessions."""
    return Station(name, stays, limits, **more)


def evidence(*stations: Station, now_s: float = 1000.0, **more: Any) -> Evidence:
    """All that is known of these substations."""
    return Evidence(now_s, {each.name: each for each in stations}, **more)


@dataclass
class HonestGrid:
    """Substations with limits, a dispatcher that knows everything, and a record of all that it did."""

    limits: dict[str, Limit]
    stays: dict[str, list[Stay]] = field(default_factory=dict)
    answered: list[Answered] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    def ask(self, number: int, at_s: float, length_s: float, power_w: int) -> None:
        """One EV: let in where the load after it is least, refused where nobody has room."""
        request_id = f"r{number}"
        having = {name: [each for each in self.stays.get(name, []) if each.end_s > at_s] for name in self.limits}
        fits = [
            name
            for name, own in having.items()
            if self.limits[name].holds(len(own) + 1, sum(each.power_w for each in own) + power_w)
        ]
        if not fits:
            self.refused.append(Refused(request_id, at_s, at_s, power_w))
            return
        name = min(fits, key=lambda name: len(having[name]) / self.limits[name].max_sessions)
        self.stays.setdefault(name, []).append(stay(at_s, at_s + length_s, request_id, power_w=power_w))
        self.answered.append(Answered(request_id, at_s, name))

    def evidence(self, now_s: float) -> Evidence:
        """What it wrote down; what ends after `now_s` still charges."""
        stations = []
        for name, own in self.limits.items():
            stays = [each if each.end_s <= now_s else _still(each) for each in self.stays.get(name, [])]
            stations.append(Station(name, stays, (own,)))
        return evidence(*stations, now_s=now_s, answered=self.answered, refused=self.refused)


def _still(one: Stay) -> Stay:
    return stay(one.start_s, FOREVER, one.request_id, power_w=one.power_w, planned_end_grid_s=one.end_s)
