"""The three promises, judged by what substations wrote down of their sessions, and by nothing that anybody believed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain, pairwise

from gridctl.loadtest import placement
from gridctl.loadtest.placement import Figures, Limits, Session
from services.substation import session as substation
from services.substation.admission import Admission
from services.substation.service import SubstationService
from tests.services.balancer.world import World

#: By substation: what it has, and every session it has or had, each with its begin and end in seconds of one clock.
Records = Mapping[str, tuple[Admission, list[tuple[substation.Session, float, float]]]]


def of_world(world: World) -> Records:
    """The records of substations that are only admissions, each by its own clock."""
    found = {}
    for name, core in world.cores.items():
        now_s = world.time_s(name)
        core.advance(now_s)
        found[name] = (core, [(each, each.started_s, _end_s(each, now_s)) for each in _all(core)])
    return found


def of_services(*services: SubstationService) -> Records:
    """The records of real substations, in Unix seconds."""
    found = {}
    for service in services:
        core, clock = service.admission, service._clock
        now_s = clock.grid_s()
        core.advance(now_s)
        found[service.name] = (
            core,
            [(each, clock.unix_s(each.started_s), clock.unix_s(_end_s(each, now_s))) for each in _all(core)],
        )
    return found


def figures(records: Records, since_s: float = 0.0, until_s: float | None = None) -> Figures:
    """Load over time by the records, against the substations' nominal limits."""
    last_s = max((end_s for _, stays in records.values() for _, _, end_s in stays), default=since_s)
    sessions = {
        name: [Session(each.request_id, begin_s, end_s, each.power_w, 0.0) for each, begin_s, end_s in stays]
        for name, (_, stays) in records.items()
    }
    limits = {name: Limits(core.nominal.max_sessions, core.nominal.capacity_w) for name, (core, _) in records.items()}
    end_s = last_s if until_s is None else until_s
    return placement.measure(sessions, limits, since_s, end_s, end_s)


def expect_kept(records: Records, told: Iterable[str] = ()) -> None:
    """I1, I2, and I3 for the request_ids that were `told` 202."""
    assert figures(records).overloads == 0, "I1: more was used than there is"
    by_id: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for each, begin_s, end_s in chain.from_iterable(stays for _, stays in records.values()):
        if each.state != "revoked":
            by_id[each.request_id].append((begin_s, end_s))
    for request_id, spans in by_id.items():
        for (_, end_s), (begin_s, _) in pairwise(sorted(spans)):
            assert end_s <= begin_s, f"I2: {request_id} charged twice at once"
    lost = set(told) - by_id.keys()
    assert not lost, f"I3: answered 202 and without a session: {sorted(lost)}"


def _all(core: Admission) -> Iterable[substation.Session]:
    return chain(core.running(), core.ended())


def _end_s(session: substation.Session, now_s: float) -> float:
    """Its end, as far as it is known: what runs has lasted until now at least."""
    return max(now_s, session.started_s) if session.ended_s is None else session.ended_s
