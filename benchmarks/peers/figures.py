"""What is made of samples: what wrk printed, medians with their spread, ratios of the same round, targets. Must not measure.

A sample is one run of one peer under one load: `closed:256` is wrk with 256 connections, `open:1000` is the open-loop load
tester at 1,000 requests a second.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

#: What our Lua script begins its only line with.
MARK = "BENCH "
OURS, SUBSTATION, FLASK = "gridctl", "one substation", "flask"


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: 202s a wall second, latencies in ms, µs of CPU a 202 by process group, cores that others took meanwhile."""

    peer: str
    load: str
    round: int
    accepted: int
    per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_us: Mapping[str, float]
    others_cores: float
    faults: Mapping[str, int] = field(default_factory=dict)

    @property
    def spent_us(self) -> float:
        """µs of CPU a 202 of all groups but the one that makes the load."""
        return sum(value for group, value in self.cpu_us.items() if group != "load")


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of all rounds, the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 2, factor: float = 1.0) -> str:
        """Like `1.02 (0.97…1.10)`."""
        median, least, most = (f"{factor * value:,.{digits}f}" for value in (self.median, self.least, self.most))
        return f"{median} ({least}…{most})"


def wrk_figures(text: str) -> dict[str, Any]:
    """The figures in what wrk printed, with `accepted` and `faults`; ValueError where our script did not get to say them."""
    lines = [line for line in text.splitlines() if line.startswith(MARK)]
    if len(lines) != 1:
        raise ValueError(f"wrk said nothing that can be read:\n{text}")
    found: dict[str, Any] = json.loads(lines[0].removeprefix(MARK))
    faults = {name: found.pop(name) for name in ("refused", "broken", "timeouts", "strange")}
    found["accepted"] = found.pop("answered") - max(faults["refused"], faults["strange"])
    return {**found, "faults": {name: count for name, count in faults.items() if count}}


def loadtest_figures(text: str) -> dict[str, Any]:
    """The same of what `gridctl loadtest --json` printed."""
    said = json.loads(text)
    counts = {name: said[name] for name in ("refused", "failed")} | {"behind_schedule": int(said["behind_schedule"])}
    latencies = said["latency_ms"]
    return {
        "accepted": said["accepted"],
        "duration_s": said["duration_s"],
        **{
            f"{name}_ms": latencies[name] if latencies[name] is not None else float("inf")
            for name in ("p50", "p99", "max")
        },
        "faults": {name: count for name, count in counts.items() if count},
    }


@dataclass(frozen=True, slots=True)
class Table:
    """All samples of a run of the benchmark."""

    samples: Sequence[Sample]

    def peers(self) -> list[str]:
        """In the order of their first run."""
        return list(dict.fromkeys(sample.peer for sample in self.samples))

    def loads(self) -> list[str]:
        """In the order of their first run."""
        return list(dict.fromkeys(sample.load for sample in self.samples))

    def values(self, peer: str, load: str, figure: str) -> dict[int, float]:
        """Of each round, one figure of one peer."""
        chosen = (sample for sample in self.samples if (sample.peer, sample.load) == (peer, load))
        return {sample.round: float(getattr(sample, figure)) for sample in chosen}

    def spread(self, peer: str, load: str, figure: str) -> Spread | None:
        """None where that peer was not under that load."""
        values = self.values(peer, load, figure)
        return Spread.of(list(values.values())) if values else None

    def ratio(self, load: str, figure: str, peer: str, to: str) -> Spread | None:
        """What `peer` has for each of `to`, in each round by itself; None where no round has both."""
        mine, theirs = self.values(peer, load, figure), self.values(to, load, figure)
        return self._ratios([(mine[each], theirs[each]) for each in mine if each in theirs])

    def _ratios(self, pairs: Sequence[tuple[float, float]]) -> Spread | None:
        found = [mine / theirs for mine, theirs in pairs if theirs]
        return Spread.of(found) if found else None

    def cpu_us(self, peer: str, load: str) -> dict[str, float]:
        """The median µs of CPU a 202 of each process group."""
        chosen = [sample for sample in self.samples if (sample.peer, sample.load) == (peer, load)]
        groups = dict.fromkeys(group for sample in chosen for group in sample.cpu_us)
        return {group: statistics.median(sample.cpu_us.get(group, 0.0) for sample in chosen) for group in groups}


@dataclass(frozen=True, slots=True)
class Target:
    """What is demanded of a figure of ours, by itself or as a ratio to the same of another peer."""

    load: str
    figure: str
    bound: float
    to: str | None = None
    at_least: bool = False

    def words(self) -> str:
        """As one reads it in the table."""
        names = {"per_s": "requests/s", "p50_ms": "p50", "p99_ms": "p99"}
        kind, _, count = self.load.partition(":")
        where = f"{count} connections" if kind == "closed" else f"{int(count):,} requests/s offered"
        demand = f"{'≥' if self.at_least else '≤'} {self.bound:g}{' times that' if self.to else ''}"
        return f"{where}: {names[self.figure]} {demand} " + (f"of {self.to}" if self.to else "ms")

    def found(self, table: Table) -> Spread | None:
        """What was measured; None where it was not."""
        if self.to is None:
            return table.spread(OURS, self.load, self.figure)
        return table.ratio(self.load, self.figure, OURS, self.to)

    def met(self, found: Spread) -> bool:
        """Whether the median of all rounds holds it."""
        return found.median >= self.bound if self.at_least else found.median <= self.bound


TARGETS = (
    Target("closed:256", "per_s", 1.0, "haproxy", at_least=True),
    Target("closed:256", "per_s", 1.0, "nginx", at_least=True),
    Target("closed:256", "per_s", 0.9, SUBSTATION, at_least=True),
    Target("closed:256", "per_s", 35.0, FLASK, at_least=True),
    Target("closed:256", "p99_ms", 1.0, "haproxy"),
    Target("open:1000", "p50_ms", 3.0),
    Target("open:1000", "p99_ms", 15.0),
    Target("open:1000", "p99_ms", 2.5, "haproxy"),
)


def verdicts(table: Table) -> list[dict[str, Any]]:
    """Every target, what was found and whether it is met; both None where it was not measured."""
    said = []
    for target in TARGETS:
        found = target.found(table)
        met = None if found is None else target.met(found)
        said.append({"target": target.words(), "found": None if found is None else asdict(found), "met": met})
    return said


def report(table: Table) -> str:
    """Everything as Markdown: a table a load, ratios, targets."""
    parts = [_load_table(table, load) for load in table.loads()]
    rows = ["| target | median of all rounds (least…most) | |", "|---|---|---|"]
    for each in verdicts(table):
        found = "not measured" if each["found"] is None else Spread(**each["found"]).text(2)
        rows.append(f"| {each['target']} | {found} | {_word(each['met'])} |")
    return "\n\n".join([*parts, "\n".join(rows)])


def _word(met: bool | None) -> str:
    return "" if met is None else "met" if met else "MISSED"


def _load_table(table: Table, load: str) -> str:
    heads = (
        "202s a second",
        "p50 ms",
        "p99 ms",
        "µs CPU a 202",
        "of these",
        f"{OURS}: times its rate",
        "times its CPU",
    )
    rows = [f"| {load} | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for peer in table.peers():
        spreads = [table.spread(peer, load, figure) for figure in ("per_s", "p50_ms", "p99_ms", "spent_us")]
        if spreads[0] is None:
            continue
        rate, p50, p99, spent = (
            each.text(digits) if each else "" for each, digits in zip(spreads, (0, 2, 2, 0), strict=True)
        )
        ratios = [table.ratio(load, figure, OURS, peer) if peer != OURS else None for figure in ("per_s", "spent_us")]
        of_these = ", ".join(f"{group} {value:.0f}" for group, value in table.cpu_us(peer, load).items())
        faster, dearer = (ratio.text() if ratio else "" for ratio in ratios)
        rows.append(f"| {peer} | {rate} | {p50} | {p99} | {spent} | {of_these} | {faster} | {dearer} |")
    return "\n".join(rows)
