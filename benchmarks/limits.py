"""How near to what is possible placing comes, on live grids: the ledger beside the naive design. Prints a Markdown table.

    python benchmarks/limits.py                                   # 20x10 at 95 %, both designs: three minutes
    python benchmarks/limits.py --cells all                       # every cell: about three quarters of an hour
    python benchmarks/limits.py --cells 100x10@0.8/naive 100x10@0.8 --arrivals 8000 --picture docs/herd.svg   # `make herd`

A cell is SUBSTATIONSxSLOTS@LOAD: Poisson arrivals of 30-second sessions, offered LOAD times all slots. `/naive` is the
design that polls every 5 grid seconds and sends to the least loaded (`least-loaded-stale`, `hard_limit: false`). Errors are
standard errors by batch means: the time after the first two session lengths, cut into 20 batches. `load` is the machine's
load average at the end of the run: far above the number of cores, `p99 ms` is the machine's and not the grid's.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from gridctl import audit
from gridctl.audit import records
from gridctl.control import control_at
from gridctl.loadtest import placement, scenario
from gridctl.loadtest.placement import Limits, Session
from gridctl.loadtest.progress import Silent
from gridctl.loadtest.result import Result
from gridctl.loadtest.run import run
from gridctl.loadtest.scenario import Flags
from gridctl.loadtest.sending import Sender
from gridctl.loadtest.setup import Setup
from gridctl.loadtest.target import from_snapshot
from gridctl.state import ClusterPaths
from gridctl.testing import running_cluster
from services.routing.reference import Arrival, jsq_spread

#: By number of substations, grid seconds a wall second: so fast, and no faster, that HTTP stays quick beside a session.
TIME_SCALES = {3: 30.0, 20: 10.0, 100: 2.0}
SESSION_S = 30.0
POLL_S = 5.0
BATCHES = 20
WARM_UP_SESSIONS = 2
LOADS = (0.5, 0.8, 0.95, 1.5)
#: Of the picture: the least and the most loaded substation and those between; colours of what is within limits, and above.
SHARES = (0.0, 0.1, 0.5, 0.9, 1.0)
CALM = "#1f6fb2"
HOT = "#c0392b"
COLUMNS = (
    *("cell", "design", "EVs", "blocked %", "pool %", "Erlang-B %", "avoidable", "overloads", "peak %", "excess %"),
    *("spread", "JSQ", "attempts", "p99 ms", "load", "audit"),
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


SIZES = [f"{size}@{load:g}" for size in ("3x10", "20x10") for load in LOADS] + ["100x10@0.8"]
ALL = [f"{size}{design}" for size in SIZES for design in ("", "/naive")]


@dataclass(frozen=True, slots=True)
class Measured:
    """One cell's run: the result, the verdict, and what every substation carried from `start_s` to `end_s` (Unix)."""

    cell: Cell
    result: Result
    verdict: audit.Verdict
    sessions: dict[str, list[Session]]
    start_s: float
    end_s: float
    load_average: float

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
        setup = Setup(plan, target, seed, 12.0, lambda: target)
        result = uvloop.run(run(setup, Silent(sys.stderr), lambda: Sender(setup, lambda *_: None)))
        load_average = os.getloadavg()[0]
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
    return Measured(cell, result, verdict, sessions, start_s, start_s + plan.duration_s, load_average)


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
        f"{measured.load_average:.1f}",
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


def draw(runs: Sequence[Measured], target: Path) -> None:
    """A picture of all substations' load over time, from their records: a panel a run, on one scale. Needs matplotlib."""
    import matplotlib as mpl  # noqa: PLC0415 - only where a picture is wanted

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "gridctl", "axes.spines.top": False, "font.size": 10})
    from matplotlib import pyplot  # noqa: PLC0415

    figure, (panels,) = pyplot.subplots(
        1, len(runs), figsize=(5 * len(runs), 4.5), sharey=True, layout="constrained", squeeze=False
    )
    highest_pct = max(_plot(panel, measured) for panel, measured in zip(panels, runs, strict=True))
    for panel, measured in zip(panels, runs, strict=True):
        panel.set(xlabel="seconds of the grid", ylim=(0, 1.05 * highest_pct))
        panel.set_title(_title(measured), loc="left", size="medium", weight="bold")
        panel.annotate("capacity", (panel.get_xlim()[0], 100), (3, 4), textcoords="offset points", weight="bold")
        if not measured.cell.naive and len(runs) > 1:
            inset = panel.inset_axes((0.12, 0.32, 0.86, 0.56), ylim=(0, 125))
            inset.set_title("the same, enlarged", loc="left", size="medium")
            _plot(inset, measured)
    named = {name: line for panel in panels for line, name in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named, loc="outside lower center", ncols=len(named), frameon=False)
    panels[0].set_ylabel("load of a substation, % of its capacity")
    figure.savefig(target, metadata={"Date": None, "Title": "Load of every substation over time, by design"})


def _plot(panel: Any, measured: Measured, shown_s: float = 90.0, step_s: float = 1.0) -> float:
    """Draws `shown_s` grid seconds after the warm-up: how load is distributed, and each substation that is above capacity.

    Returns the highest load, in percent.
    """
    cell, begin_s = measured.cell, WARM_UP_SESSIONS * SESSION_S
    grid_s = [begin_s + number * step_s for number in range(int(shown_s / step_s) + 1)]
    times_s = [measured.start_s + each / cell.time_scale for each in grid_s]
    loads = [_loads_pct(own, times_s, cell.slots) for own in measured.sessions.values()]
    ranked = [sorted(each) for each in zip(*loads, strict=True)]
    least, low, median, high, most = ([each[round(part * (len(each) - 1))] for each in ranked] for part in SHARES)
    panel.fill_between(grid_s, least, most, color=CALM, alpha=0.2, linewidth=0, step="post", label="all substations")
    panel.fill_between(grid_s, low, high, color=CALM, alpha=0.45, linewidth=0, step="post", label="eight of ten")
    panel.plot(grid_s, median, color=CALM, linewidth=1.2, drawstyle="steps-post", label="median")
    for one in (one for one in loads if max(one) > 100):
        if max(one) == max(most):
            panel.plot(grid_s, one, color=HOT, linewidth=2.2, label="the one with most")
        else:
            panel.plot(grid_s, one, color=HOT, linewidth=1.0, alpha=0.6, label="each above capacity")
    panel.axhline(100, color="black", linewidth=1.5, linestyle=(0, (4, 2)))
    panel.set_xlim(grid_s[0], grid_s[-1])
    return float(max(most))


def _loads_pct(sessions: Sequence[Session], times_s: Sequence[float], slots: int) -> list[float]:
    starts, ends = sorted(each.start_s for each in sessions), sorted(each.end_s for each in sessions)
    return [100 * (bisect_right(starts, at_s) - bisect_right(ends, at_s)) / slots for at_s in times_s]


def _title(measured: Measured) -> str:
    figures, design = measured.result.figures, "naive" if measured.cell.naive else "ledger"
    if figures is None:
        return design
    excess_pct = 100 * (figures.excess or 0)
    return f"{design}: up to {figures.peak_load_pct:.0f} %, {excess_pct:.0f} % of all charging above capacity"


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
