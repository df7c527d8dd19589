"""One audit: everything that was gathered, judged by every checker. Must not know where records come from."""

from __future__ import annotations

from gridctl.audit import duplicates, limits, promises, rejections
from gridctl.audit.records import Gathered
from gridctl.audit.verdict import Overlap, Verdict, Violation


def judge(gathered: Gathered) -> Verdict:
    """The verdict on all of it; what a journal that cannot be read might tell is not held against anybody."""
    evidence, unread = gathered.evidence, gathered.unread
    pairs = list(duplicates.overlapping(evidence))
    violations: list[Violation] = [each for each in pairs if isinstance(each, Violation)]
    for station in evidence.stations.values():
        violations += limits.exceeded(station)
    answers = promises.once(evidence.answered)
    if not unread:
        violations += promises.broken(evidence)
    violations += promises.miscounted(evidence)
    violations += rejections.avoidable(evidence.refused, evidence.stations.values(), evidence.failed_tries)
    return Verdict(
        violations=sorted(violations, key=lambda each: (each.at_s, each.promise, each.request_id)),
        checked={
            "substations": len(evidence.stations),
            "balancers": len(evidence.balancers),
            "sessions": sum(len(station.stays) for station in evidence.stations.values()),
            "answers": 0 if unread else len(answers),
            "refusals": rejections.judged(evidence.refused, evidence.stations.values()),
            "counters": len(evidence.counters),
        },
        overlaps=[each for each in pairs if isinstance(each, Overlap)],
        unread=unread,
        notes=gathered.notes,
    )
