"""What chaos did, what it cost and what the audit says of it, as JSON and for a reader. Must not know how it was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gridctl.audit import Verdict
from gridctl.audit.summary import lines as audited
from gridctl.chaos.costs import Cost, Costs, Deed
from gridctl.chaos.timeline import Step
from gridctl.console import Cell, Column
from gridctl.figures import UNKNOWN
from gridctl.loadtest.tally import Tally

COLUMNS = (
    Column("AT", "right"),
    Column("FAULT"),
    Column("LASTED", "right", drop=2),
    Column("FAILED", "right"),
    Column("LONGEST GAP", "right"),
    Column("NOTE", drop=1),
)


@dataclass(frozen=True, slots=True)
class Result:
    """One run. `start_s` is the clock's second at which it began; `unwell` are processes that were not READY at the end.

    `verdict` is None where there was none to be had: the run was interrupted.
    """

    seed: int
    rate: float
    duration_s: float
    start_s: float
    deeds: tuple[Deed, ...]
    costs: Costs
    tally: Tally
    verdict: Verdict | None
    unwell: Mapping[str, str]
    interrupted: bool = False

    @property
    def ok(self) -> bool:
        """Whether the audit found nothing, and all is well again."""
        return self.verdict is not None and self.verdict.ok and not self.unwell

    def to_json(self) -> dict[str, Any]:
        """The document of `gridctl chaos --json`; docs/json.md explains each key."""
        tally = self.tally
        return {
            "ok": self.ok,
            "seed": self.seed,
            "rate": self.rate,
            "duration_s": round(self.duration_s, 3),
            "interrupted": self.interrupted,
            "sent": tally.sent,
            "accepted": tally.accepted,
            "refused": tally.refused,
            "failed": tally.failed,
            "failures": dict(tally.failures.most_common()),
            "failed_otherwise": self.costs.failed_otherwise,
            "longest_gap_s": _rounded(self.costs.longest_gap_s),
            "faults": [self._fault(*pair) for pair in zip(self.deeds, self.costs.each, strict=True)],
            "unwell": dict(self.unwell),
            "audit": None if self.verdict is None else self.verdict.to_json(),
        }

    def _fault(self, deed: Deed, cost: Cost) -> dict[str, Any]:
        return {
            **step_json(deed.step),
            "began_s": round(deed.began_s - self.start_s, 3),
            "lasted_s": round(deed.ended_s - deed.began_s, 3),
            "failed": cost.failed,
            "longest_gap_s": _rounded(cost.longest_gap_s),
            "note": deed.note,
        }

    def rows(self) -> list[list[Cell]]:
        """One row of `COLUMNS` for each fault."""
        return [self._row(*pair) for pair in zip(self.deeds, self.costs.each, strict=True)]

    def _row(self, deed: Deed, cost: Cost) -> list[Cell]:
        return [
            Cell(_seconds(deed.began_s - self.start_s)),
            Cell(deed.step.words, "bold"),
            Cell(_seconds(deed.ended_s - deed.began_s)),
            Cell(str(cost.failed), "yellow" if cost.failed else ""),
            Cell(_seconds(cost.longest_gap_s)),
            Cell(deed.note),
        ]

    def summary(self) -> list[str]:
        """The lines below the table: the load as a whole, what is not well, and the verdict."""
        tally = self.tally
        lines = []
        if tally.sent:
            reasons = ", ".join(f"{count} {reason}" for reason, count in tally.failures.most_common(4))
            lines.append(
                f"{tally.sent} requests: {tally.accepted} accepted, {tally.refused} refused, {tally.failed} failed"
                + (f" ({reasons})" if reasons else "")
            )
            otherwise = self.costs.failed_otherwise
            lines.append(
                f"longest gap between accepted answers {_seconds(self.costs.longest_gap_s)}"
                + (f"; {otherwise} failed while no fault was on" if otherwise else "")
            )
        lines += [f"not well: {name} {state}" for name, state in self.unwell.items()]
        if self.verdict is None:
            return [*lines, "audit: not asked, the run was interrupted"]
        return [*lines, f"audit: {'every promise was kept' if self.verdict.ok else 'FAILED'}", *audited(self.verdict)]


def step_json(step: Step) -> dict[str, Any]:
    """A step as JSON."""
    return {
        "at_s": step.at_s,
        "kind": step.kind,
        "target": step.target,
        "for_s": step.for_s,
        "pct": step.pct,
        "by_s": step.by_s,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _seconds(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else f"{seconds:.2f} s"


def plan_rows(steps: Sequence[Step]) -> list[list[Cell]]:
    """One row for each step of a plan."""
    return [[Cell(_seconds(step.at_s)), Cell(step.words, "bold")] for step in steps]
