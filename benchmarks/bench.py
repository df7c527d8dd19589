"""gridctl beside what one would pick instead, in one run: HAProxy, nginx, one substation alone, and a Flask build.

    make bench                                                     # compiles, then five rounds: a quarter of an hour
    make bench BENCH_ARGS='--quick'                                # two short rounds: three minutes and to compile
    make bench BENCH_ARGS='--only gridctl haproxy --connections 256'
    make bench BENCH_ARGS='--only gridctl --beside main=../main/.venv/bin/python'     # two installations of gridctl

All stand before the same substations (but Flask, which has its own, and `--beside`, a grid of another installation). They
take turns, and each round begins with another. Load: wrk with so many `--connections`, and the open-loop load tester at
`--rates`. Only a 202 counts: a first run of each looks at every status, later ones compare with what substations counted.
Ratios are of the same round; their median is what targets are held to. Prints Markdown; writes JSON and a picture where
asked to. Exit 1 when a target is missed. It needs haproxy, nginx and wrk: `make bench-deps`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.peers import figures
from benchmarks.peers.field import CAPACITY, PROGRAMS, SESSION_S, TIME_SCALE, Peer, peers
from benchmarks.peers.figures import FLASK, OURS, SUBSTATION, Sample, Table
from benchmarks.peers.load import Placing, Uncounted, hurried, measure, rehearse

ALL = (OURS, "haproxy", "nginx", SUBSTATION, FLASK)
LIBRARIES = ("aiohttp", "uvloop", "flask", "requests", "werkzeug")
#: With fewer cores who makes the load has none to itself: pinning it to one would take half of the machine from the rest.
PINNED_FROM = 4


def main() -> int:
    """Measure, print, write, judge."""
    chosen = _chosen()
    _demand_programs(chosen.only)
    placing = _placing(chosen.pin)
    told: dict[str, Any] = {**machine(), "pinned": placing.words(), "rounds": chosen.rounds, "seconds": chosen.seconds}
    print(
        f"{told['commit']}, {told['built']}, {told['cores']} cores, load average before: {told['load_before']}, "
        f"{told['pinned']}"
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        arguments = (chosen.only, chosen.beside, chosen.substations, chosen.workers)
        with peers(Path(folder), *arguments) as everybody:
            placing.pin(everybody)
            with hurried(everybody):
                table = Table(_rounds(everybody, placing, chosen))
    print("\n" + figures.report(table))
    told |= {
        "load_after": _load_average(),
        "targets": figures.verdicts(table),
        "samples": list(map(asdict, table.samples)),
    }
    if chosen.results:
        chosen.results.write_text(json.dumps(told, indent=1) + "\n")
    if chosen.picture:
        from benchmarks.peers.picture import draw  # noqa: PLC0415 - only where a picture is wanted

        draw(table, told, chosen.picture)
    return int(any(each["met"] is False for each in told["targets"]))


def _chosen() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="how often each takes its turn (5)")
    parser.add_argument("--seconds", type=float, help="wall seconds of each turn (5)")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 3 seconds, unless said otherwise")
    parser.add_argument(
        "--only", nargs="+", default=list(ALL), choices=ALL, metavar="PEER", help=f"of {', '.join(ALL)}"
    )
    parser.add_argument("--beside", nargs="+", default=[], metavar="NAME=PYTHON", help="other installations of gridctl")
    parser.add_argument("--connections", nargs="*", type=int, default=[64, 256], help="of wrk")
    parser.add_argument(
        "--rates", nargs="*", type=int, help="requests a second of the load tester (200 1000; quick: 1000)"
    )
    parser.add_argument("--substations", type=int, default=3)
    parser.add_argument("--workers", type=int, help="of the request service; else gridctl's own default")
    parser.add_argument("--pin", type=int, help=f"cores for the load (a quarter from {PINNED_FROM} cores on, else 0)")
    parser.add_argument("--results", type=Path, help="a JSON file of everything")
    parser.add_argument("--picture", type=Path, help="an SVG")
    chosen = parser.parse_args()
    rounds, seconds, rates = (2, 3.0, [1000]) if chosen.quick else (5, 5.0, [200, 1000])
    chosen.rounds = chosen.rounds or rounds
    chosen.seconds = chosen.seconds or seconds
    chosen.rates = rates if chosen.rates is None else chosen.rates
    chosen.beside = dict(each.split("=", 1) for each in chosen.beside)
    return chosen


def _demand_programs(only: Sequence[str]) -> None:
    needed = [name for name in PROGRAMS if name == "wrk" or name in only]
    if missing := [PROGRAMS[name] for name in needed if shutil.which(name) is None]:
        raise SystemExit(
            f"Not here: {', '.join(missing)}. Debian and Ubuntu: make bench-deps (apt-get install {' '.join(missing)})"
        )


def _placing(pinned: int | None) -> Placing:
    cores = sorted(psutil.Process().cpu_affinity())
    count = pinned if pinned is not None else len(cores) // 4 if len(cores) >= PINNED_FROM else 0
    return Placing(cores[-count:], cores[:-count]) if 0 < count < len(cores) else Placing()


def _rounds(everybody: Sequence[Peer], placing: Placing, chosen: argparse.Namespace) -> list[Sample]:
    samples: list[Sample] = []
    for peer in everybody:
        rehearse(peer, placing, 2)
    loads = [f"closed:{count}" for count in chosen.connections] + [f"open:{rate}" for rate in chosen.rates]
    for number in range(chosen.rounds):
        shift = number % len(everybody)
        for load in loads:
            for peer in (*everybody[shift:], *everybody[:shift]):
                if load.startswith("open:") and peer.name == FLASK:
                    continue  # it answers fewer than are offered: its latency is only how long one looked
                samples.append(measure(peer, load, placing, number, chosen.seconds))
                _tell(samples[-1])
    return samples


def _tell(sample: Sample) -> None:
    faults = f"  {dict(sample.faults)}" if sample.faults else ""
    print(
        f"round {sample.round + 1}  {sample.load:<11}{sample.peer:<15}{sample.per_s:>8,.0f}/s  p50 {sample.p50_ms:7.2f} ms  "
        f"p99 {sample.p99_ms:7.2f} ms  CPU {sample.spent_us:6.0f} µs  others took {sample.others_cores:.2f} cores{faults}",
        flush=True,
    )


def machine() -> dict[str, Any]:
    """What the figures were measured on, and by which versions."""
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _first_line("git", "describe", "--always", "--dirty", "--abbrev=10"),
        "built": _built(),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_before": _load_average(),
        "nice": os.nice(0),
        "grid": {"sessions": CAPACITY, "session_wall_s": SESSION_S / TIME_SCALE, "durability": "fsync"},
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    commands = {"haproxy": ("haproxy", "-v"), "nginx": ("nginx", "-v"), "wrk": ("wrk", "-v")}
    found = {name: _first_line(*command) for name, command in commands.items() if shutil.which(name)}
    return {
        "gridctl": version("gridctl"),
        "python": platform.python_version(),
        "kernel": platform.release(),
        **{name: version(name) for name in LIBRARIES},
        **found,
    }


def _built() -> str:
    """Whether the gridctl that belongs to this Python is compiled; this process may have imported the sources beside it."""
    where = _first_line(sys.executable, "-P", "-c", "import services.stream.link as module; print(module.__file__)")
    return "plain Python" if where.endswith(".py") else "compiled"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _load_average() -> list[float]:
    return [round(each, 2) for each in os.getloadavg()]


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().partition("\n")[0].partition(" Copyright")[0]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Uncounted as error:
        raise SystemExit(f"These figures would not count: {error}") from None
