"""Times, shares and placement of the reference run, of bursts, and of a real evening. Prints a Markdown table.

    python benchmarks/reference_run.py [--time-scale 10] [--trace ../shared/data/norway-2019-11_2020-01.csv]

With `--time-scale 1` the reference run takes its full five minutes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from gridctl.testing import Grid, running_cluster

COLUMNS = ("run", "sent", "accepted", "refused", "failed", "accepted each", "peak each", "spread", "p50 ms", "p99 ms")
KW_LIMITS = [
    {"name": "north", "capacity_kw": 22},
    {"name": "centre", "capacity_kw": 37},
    {"name": "south", "capacity_kw": 50},
]
EVENING = ("--from", "2020-01-15T15:00", "--until", "2020-01-15T21:00", "--speed", "720")


def main() -> None:
    """Run all of them, one grid each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time-scale", type=float, default=10.0)
    parser.add_argument("--trace", type=Path)
    chosen = parser.parse_args()
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    with running_cluster(substations=3, time_scale=chosen.time_scale) as grid:
        show("0.5 EVs/s, 5 min", grid, "--rate", "0.5", "--duration", "5m")
    for size in (10, 30, 50):
        with running_cluster(substations=3) as grid:
            show(f"burst of {size}", grid, "--burst", str(size))
    if chosen.trace:
        topology = {"time_scale": 60, "defaults": {"max_sessions": 30}, "substations": KW_LIMITS}
        with running_cluster(topology=topology) as grid:
            show("a real evening, kW limits", grid, "--replay", str(chosen.trace), *EVENING)


def show(title: str, grid: Grid, *arguments: str) -> None:
    """Load the grid and print one row."""
    done = grid.run("loadtest", *arguments, "--seed", "1", "--json", timeout_s=1000)
    result: dict[str, Any] = json.loads(done.stdout)
    each = "/".join(str(entry["accepted"]) for entry in result["per_substation"].values())
    peaks = "/".join(str(peak) for peak in result["peak_sessions"].values())
    latency = result["latency_ms"]
    counts = [result[key] for key in COLUMNS[1:5]]
    row = [title, *counts, each, peaks, f"{result['spread']:.2f}", f"{latency['p50']:.1f}", f"{latency['p99']:.1f}"]
    print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
