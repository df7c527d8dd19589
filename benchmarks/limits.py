"""How near to what is possible placing comes, on live grids: the ledger beside the naive design. Prints a Markdown table.

    python benchmarks/limits.py                                   # 20x10 at 95 %, both designs: three minutes
    python benchmarks/limits.py --cells all                       # every cell: about three quarters of an hour
    python benchmarks/limits.py --cells 3x10@0.8 3x10@0.8/naive --picture herd.svg

A cell is SUBSTATIONSxSLOTS@LOAD: Poisson arrivals of 30-second sessions, offered LOAD times all slots. `/naive` is the
design that polls every 5 grid seconds and sends to the least loaded (`least-loaded-stale`, `hard_limit: false`). Errors are
standard errors by batch means: the time after the first two session lengths, cut into 20 batches.
"""

from __future__ import annotations

import argparse
import io
import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from gridctl import audit
from gridctl.audit import records
from gridctl.control import control_at
from gridctl.loadtest import placement, scenario
from gridctl.loadtest.placement import Limits, Session
from gridctl.loadtest.progress import Silent
from gridctl.loadtest.result import Result
from gridctl.loadtest.run import Setup, run
from gridctl.loadtest.scenario import Flags
from gridctl.loadtest.target import from_snapshot
from gridctl.state import ClusterPaths
from gridctl.testing import running_cluster
from services.routing.reference import Arrival, jsq_spread

#: By number of substations, grid seconds a wall second: so fast, and no faster, that HTTP stays quick beside a session.
TIME_SCALES = {3: 30.0, 20: 10.0}
SESSION_S = 30.0
POLL_S = 5.0
BATCHES = 20
WARM_UP_SESSIONS = 2
LOADS = (0.5, 0.8, 0.95, 1.5)
COLUMNS = (
    *("cell", "design", "EVs", "blocked %", "pool %", "Erlang-B %", "avoidable", "overloads", "peak %", "excess %"),
    *("spread", "JSQ", "attempts", "p99 ms", "audit"),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One grid under one load, by one design."""

    substations: int
    slots: int
    load: float
    naive: bool

    @classmethod
    def of(cls, text: str) -> Cell:
        """The cell that `text` names; ValueError for what is none."""
        size, _, load = text.removesuffix("/naive").partition("@")
        substations, slots = size.split("x")
        return cls(int(substations), int(slots), float(load), text.endswith("/naive"))

    @property
    def time_scale(self) -> float:
        """Grid seconds a wall second."""
        return TIME_SCALES.get(self.substations, 10.0)

    @property
    def rate_per_s(self) -> float:
        """EVs a grid second."""
        return self.load * self.substations * self.slots / SESSION_S

    def topology(self) -> dict[str, object]:
        """The grid."""
        common = {"time_scale": self.time_scale, "substations": self.substations}
        defaults: dict[str, object] = {"max_sessions": self.slots, "session_s": SESSION_S}
        if not self.naive:
            return {**common, "defaults": defaults}
        balancer = {"policy": "least-loaded-stale", "poll_interval_s": round(POLL_S / self.time_scale, 3)}
        return {**common, "balancer": balancer, "defaults": {**defaults, "hard_limit": False}}


ALL = [f"{size}@{load:g}{design}" for size in ("3x10", "20x10") for load in LOADS for design in ("", "/naive")]


@dataclass(frozen=True, slots=True)
class Measured:
    """One cell's run: the result, the verdict, and what every substation carried from `start_s` to `end_s` (Unix)."""

    cell: Cell
    result: Result
    verdict: audit.Verdict
    sessions: dict[str, list[Session]]
    start_s: float
    end_s: float

    def batches(self) -> list[tuple[float, float]]:
        """The batches of the measured time."""
        begin_s = self.start_s + WARM_UP_SESSIONS * SESSION_S / self.cell.time_scale
        length_s = (self.end_s - begin_s) / BATCHES
        return [(begin_s + number * length_s, begin_s + (number + 1) * length_s) for number in range(BATCHES)]

    def blocked(self) -> list[float]:
        """The share refused in each batch."""
        found = []
        for from_s, to_s in self.batches():
            kinds = [asked.kind for asked in self.result.asked if from_s <= asked.answered_s < to_s]
            found.append(kinds.count("refused") / max(1, len(kinds) - kinds.count("failed")))
        return found

    def spreads(self) -> list[float]:
        """The spread in each batch."""
        limits = dict.fromkeys(self.sessions, Limits(self.cell.slots))
        spans = self.batches()
        figures = [placement.measure(self.sessions, limits, from_s, to_s, to_s) for from_s, to_s in spans]
        return [each.spread or 0.0 for each in figures]

    def best_spreads(self) -> list[float]:
        """What perfect join-the-shortest-queue makes of the same arrivals, in each batch."""
        length_s = SESSION_S / self.cell.time_scale
        arrivals = [Arrival(session.start_s, length_s) for own in self.sessions.values() for session in own]
        arrivals += [Arrival(asked.arrived_s, length_s) for asked in self.result.asked if asked.arrived_s is not None]
        slots = [self.cell.slots] * self.cell.substations
        return [jsq_spread(arrivals, slots, from_s, to_s) or 0.0 for from_s, to_s in self.batches()]


def measure(cell: Cell, arrivals: int, seed: int) -> Measured:
    """Start the grid, load it with so many Poisson `arrivals` (on average), audit it, stop it."""
    flags = Flags(rate=repr(cell.rate_per_s), duration=f"{arrivals / cell.rate_per_s:.3f}s", arrivals="poisson")
    with running_cluster(topology=cell.topology()) as grid:
        paths = ClusterPaths(grid.state_dir, grid.name)
        target = from_snapshot(control_at(paths).snapshot())
        plan = scenario.read(flags).scenario(target.time_scale, seed)
        start_s = time.time()
        result = uvloop.run(run(Setup(plan, target, seed, 12.0, lambda: target), Silent(sys.stderr), lambda *_: None))
        told = [
            audit.Answered(asked.request_id, asked.answered_s, asked.substation)
            for asked in result.asked
            if asked.kind == "accepted"
        ]
        verdict = audit.run(paths, told)
        stations = records.gather(paths, (), ()).evidence.stations
    sessions = {
        name: [Session(stay.request_id, stay.start_s, stay.end_s, stay.power_w, 0.0) for stay in station.stays]
        for name, station in stations.items()
    }
    return Measured(cell, result, verdict, sessions, start_s, start_s + plan.duration_s)


def row(measured: Measured) -> str:
    """The cell as a row of the table."""
    cell, result, figures = measured.cell, measured.result, measured.result.figures
    ideal = result.ideal
    cells = [
        f"{cell.substations}x{cell.slots}, {100 * cell.load:g} %",
        "naive" if cell.naive else "ledger",
        str(result.tally.sent),
        f"{_percent(result.blocked_share)} ± {100 * _error(measured.blocked()):.2f}",
        _percent(ideal.blocked_pooled),
        _percent(ideal.erlang_b),
        "?" if result.avoidable is None else str(result.avoidable),
        "?" if figures is None else str(figures.overloads),
        "?" if figures is None else f"{figures.peak_load_pct:.0f}",
        _percent(figures.excess if figures else None),
        _with_error(measured.spreads()),
        _with_error(measured.best_spreads()),
        "?" if result.attempts is None else f"{result.attempts:.3f}",
        f"{result.tally.latencies.percentile_ms(99) or 0:.0f}",
        _verdict(measured.verdict),
    ]
    return "| " + " | ".join(cells) + " |"


def _verdict(verdict: audit.Verdict) -> str:
    if verdict.unread:
        return f"{len(verdict.unread)} unread"
    return "ok" if verdict.ok else f"{len(verdict.violations)} broken"


def _with_error(values: Sequence[float]) -> str:
    """Mean ± standard error, by batch means."""
    return f"{statistics.fmean(values):.2f} ± {_error(values):.2f}"


def _error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values))


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{100 * share:.2f}"


def draw(runs: Sequence[Measured], target: Path, grid_s: float = 120.0) -> None:
    """A picture of load over time, a row a substation, the middle `grid_s` grid seconds of each of `runs`."""
    from rich.console import Console  # noqa: PLC0415 - only where a picture is wanted
    from rich.text import Text  # noqa: PLC0415

    columns = 110
    console = Console(record=True, width=columns + 14, file=io.StringIO(), force_terminal=True)
    for measured in runs:
        cell = measured.cell
        console.print(Text(f"{100 * cell.load:g} %, {'naive' if cell.naive else 'ledger'}", style="bold"))
        middle_s = (measured.start_s + measured.end_s) / 2
        step_s = grid_s / cell.time_scale / columns
        for name, own in measured.sessions.items():
            line = Text(f"{name:<13}")
            for column in range(columns):
                at_s = middle_s + column * step_s
                load = sum(session.start_s <= at_s < session.end_s for session in own) / cell.slots
                line.append("█", style=_colour(load))
            console.print(line)
        console.print()
    scale = Text("load: ")
    for load in (0, 0.25, 0.5, 0.75, 1.0, 1.3, 2.0, 3.0):
        scale.append(f"█ {100 * load:g} %  ", style=_colour(load))
    console.print(scale)
    console.save_svg(str(target), title=f"Load of each substation over {grid_s:g} grid seconds")


def _colour(load: float) -> str:
    """Blue to green up to the limit, red to white above it."""
    if load <= 1:
        return f"rgb({int(20 + 30 * load)},{int(40 + 160 * load)},{int(90 - 20 * load)})"
    over = min(1.0, (load - 1) / 2)
    return f"rgb(255,{int(60 + 190 * over)},{int(40 + 200 * over)})"


def main() -> None:
    """Measure the chosen cells, one grid after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", default=["20x10@0.95", "20x10@0.95/naive"], metavar="CELL")
    parser.add_argument("--arrivals", type=int, default=5200, help="on average, a cell")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture", type=Path, help="an SVG of load over time, of all cells that ran")
    chosen = parser.parse_args()
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
    runs = []
    for text in ALL if chosen.cells == ["all"] else chosen.cells:
        runs.append(measure(Cell.of(text), chosen.arrivals, chosen.seed))
        print(row(runs[-1]), flush=True)
        verdict = runs[-1].verdict
        for said in (*verdict.violations[:3], *verdict.unread[:3]):
            print(f"{text}: {said}", file=sys.stderr)
    if chosen.picture:
        draw(runs, chosen.picture)


if __name__ == "__main__":
    main()
