"""How costs grow: with the number of substations, and with the sessions that charge.

    make bench-growth                                             # half an hour
    make bench-growth GROWTH_ARGS='--parts sessions --sessions 100 10000 --rounds 2'

Three parts, each a row of grids that stand side by side and take turns under wrk with 64 connections:

- `grids`: whole grids of real processes, by their number of substations;
- `balancer`: a balancer alone, by the number of substations, which are real ones but all in one other process;
- `sessions`: grids of three substations that resumed so many sessions from their journals, which charge all the while.

Of each: 202s a second, 99th percentile, CPU a 202 by process group; CPU and memory of everybody at rest; how long it took
to be ready. Prints Markdown; writes JSON and a picture where asked to.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench import machine
from benchmarks.hundred import pss_mb
from benchmarks.peers.field import CAPACITY, SESSION_S, TIME_SCALE, Peer, free_ports, grid, gridctl_peer, started
from benchmarks.peers.figures import Sample, Table
from benchmarks.peers.load import Placing, Uncounted, hurried, measure, rehearse, spent_s

LOAD = "closed:64"
REST_S = 10.0
#: CPU of four seconds in which nothing but polls happens: of a grid, and more for each of its processes.
CALM_S = 0.6
CALM_EACH_S = 0.001
#: Grid seconds until the first and the last of the resumed sessions ends: all of them charge until the benchmark is over.
ENDS_S = (1e5, 2e5)
INSERT = "INSERT INTO sessions VALUES (?, ?, ?, 1, 7400, ?, ?, ?, NULL, NULL, 'charging', '')"
PARTS = ("grids", "balancer", "sessions")


@dataclass(frozen=True, slots=True)
class Rest:
    """While nobody asks: per cent of a core and MB (PSS) by process group, of all its processes together."""

    cpu_pct: dict[str, float]
    memory_mb: dict[str, float]


@dataclass(frozen=True, slots=True)
class Point:
    """One grid: `size` substations or sessions, and what it took to be ready (wall seconds)."""

    part: str
    size: int
    ready_s: float
    rest: Rest
    samples: Sequence[Sample]


@contextmanager
def grids(folder: Path, size: int) -> Iterator[tuple[Peer, float]]:
    """A whole grid of `size` substations."""
    with grid(folder, f"grid-{size}", sys.executable, _topology(size)) as running:
        yield gridctl_peer(str(size), running), running.ready_s


@contextmanager
def sessions(folder: Path, size: int) -> Iterator[tuple[Peer, float]]:
    """A grid of three substations where `size` sessions charge."""

    def live(journals: Path) -> None:
        for path in journals.glob("substation*.db"):
            _fill(path, size // 3)

    with grid(folder, f"live-{size}", sys.executable, _topology(3), live) as running:
        yield gridctl_peer(str(size), running), running.ready_s


@contextmanager
def balancer(folder: Path, size: int) -> Iterator[tuple[Peer, float]]:
    """A balancer alone before `size` stand-ins."""
    folder.mkdir()
    texts = [str(size), str(CAPACITY), str(SESSION_S), str(TIME_SCALE)]
    with ExitStack() as stack:
        command = [sys.executable, "-m", "benchmarks.peers.standins", *texts]
        others = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        stack.callback(others.wait)
        stack.callback(others.terminate)
        assert others.stdout is not None
        urls = json.loads(others.stdout.readline())
        targets = folder / "targets.json"
        addresses = enumerate((url.removeprefix("http://") for url in urls), 1)
        groups = [_group(f"substation{number}", address) for number, address in addresses]
        targets.write_text(json.dumps(groups))
        (port,) = free_ports(1)
        service = [sys.executable, "-P", "-m", "gridctl", "serve", "balancer", "--port", str(port)]
        flags = [
            "--targets-file",
            str(targets),
            "--journal",
            str(folder / "balancer.db"),
            "--time-scale",
            str(TIME_SCALE),
        ]
        began_s = time.monotonic()
        own = started(stack, [*service, *flags, "--session-s", str(SESSION_S)], port, folder / "balancer.log")
        yield Peer(str(size), f"http://127.0.0.1:{port}", {"balancer": own}, (), "/route"), time.monotonic() - began_s


def _group(name: str, address: str) -> dict[str, Any]:
    return {"targets": [address], "labels": {"job": "substation", "substation_id": name}}


def _topology(count: int) -> dict[str, Any]:
    defaults = {"max_sessions": CAPACITY, "session_s": SESSION_S}
    return {"time_scale": TIME_SCALE, "substations": count, "defaults": defaults}


def _fill(path: Path, count: int) -> None:
    """Writes `count` sessions into a substation's journal that have long to go."""
    now_s, (first_s, last_s) = time.time(), ENDS_S
    with closing(sqlite3.connect(path)) as journal, journal:
        grid_s, unix_s = journal.execute("SELECT grid_s, unix_s FROM runs ORDER BY number DESC LIMIT 1").fetchone()
        begun_s = grid_s + (now_s - unix_s) * TIME_SCALE
        first = 1 + journal.execute("SELECT max(number) FROM sessions").fetchone()[0]
        journal.executemany(
            INSERT,
            (
                (first + each, f"{path.stem}-{each}", f"EV-{path.stem}-{each}", begun_s, ends_s, now_s)
                for each in range(count)
                for ends_s in (begun_s + first_s + (last_s - first_s) * (each * 7919 % count) / count,)
            ),
        )


MAKE = {"grids": grids, "balancer": balancer, "sessions": sessions}


def part(name: str, sizes: Sequence[int], rounds: int, seconds: float) -> list[Point]:
    """All grids of a part, side by side."""
    with tempfile.TemporaryDirectory(prefix="growth-") as folder, ExitStack() as stack:
        standing: list[tuple[int, Peer, float]] = []
        for size in sizes:
            peer, ready_s = stack.enter_context(MAKE[name](Path(folder, f"{name}-{size}"), size))
            print(f"{name} {size:,}: ready in {ready_s:.2f} s", flush=True)
            standing.append((size, peer, ready_s))
        everybody = [peer for _, peer, _ in standing]
        with hurried(everybody):
            _await_calm(everybody)
            for peer in everybody:
                rehearse(peer, Placing(), 2)
            rests = _rests(everybody)
            samples = _rounds(everybody, rounds, seconds)
    own = Table(samples)
    return [
        Point(name, size, ready_s, rest, [sample for sample in own.samples if sample.peer == peer.name])
        for (size, peer, ready_s), rest in zip(standing, rests, strict=True)
    ]


def _rounds(everybody: Sequence[Peer], rounds: int, seconds: float) -> list[Sample]:
    samples = []
    for number in range(rounds):
        shift = number % len(everybody)
        for peer in (*everybody[shift:], *everybody[:shift]):
            samples.append(measure(peer, LOAD, Placing(), number, seconds))
            last = samples[-1]
            print(
                f"round {number + 1}  {int(peer.name):>9,}{last.per_s:>8,.0f}/s  CPU {last.spent_us:6.0f} µs",
                flush=True,
            )
    return samples


def _await_calm(everybody: Sequence[Peer], within_s: float = 180.0) -> None:
    """Until what a start brings with it is over: a balancer asks each substation three times for all its sessions."""
    end_s, calm = time.monotonic() + within_s, 0
    while calm < 3 and time.monotonic() < end_s:
        before = [sum(spent_s(peer).values()) for peer in everybody]
        time.sleep(4.0)
        spent = [sum(spent_s(peer).values()) - earlier for peer, earlier in zip(everybody, before, strict=True)]
        calm = calm + 1 if all(map(_is_calm, everybody, spent)) else 0


def _is_calm(peer: Peer, spent: float) -> bool:
    return spent < CALM_S + CALM_EACH_S * sum(map(len, peer.groups.values()))


def _rests(everybody: Sequence[Peer]) -> list[Rest]:
    """CPU over ten seconds (two polls), and memory, of every group of each."""
    before = [spent_s(peer) for peer in everybody]
    time.sleep(REST_S)
    after = [spent_s(peer) for peer in everybody]
    return [_rest(*each) for each in zip(everybody, before, after, strict=True)]


def _rest(peer: Peer, before: Mapping[str, float], after: Mapping[str, float]) -> Rest:
    memory = {group: round(sum(pss_mb(each.pid) for each in own), 1) for group, own in peer.groups.items()}
    return Rest({group: round(100 * (after[group] - before[group]) / REST_S, 2) for group in before}, memory)


def report(points: Sequence[Point]) -> str:
    """Markdown: a table a part."""
    parts = []
    for name in dict.fromkeys(point.part for point in points):
        heads = (
            name,
            "202s a second",
            "p99 ms",
            "µs CPU a 202",
            "of these",
            "CPU at rest, %",
            "memory, MB",
            "ready, s",
        )
        rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
        rows += [_row(point) for point in points if point.part == name]
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def _row(point: Point) -> str:
    table = Table(point.samples)
    figures = [table.spread(str(point.size), LOAD, figure) for figure in ("per_s", "p99_ms", "spent_us")]
    texts = [each.text(digits) if each else "" for each, digits in zip(figures, (0, 1, 0), strict=True)]
    of_these = [
        f"{group} {value:.0f}" for group, value in table.cpu_us(str(point.size), LOAD).items() if group != "load"
    ]
    groups = [
        ", ".join(f"{group} {value:g}" for group, value in each.items())
        for each in (point.rest.cpu_pct, point.rest.memory_mb)
    ]
    return f"| {point.size:,} | " + " | ".join([*texts, ", ".join(of_these), *groups, f"{point.ready_s:.1f}"]) + " |"


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--grids", nargs="+", type=int, default=[3, 10, 30, 100, 300, 1000], metavar="N")
    parser.add_argument("--balancer", nargs="+", type=int, default=[3, 10, 30, 100, 300, 1000], metavar="N")
    parser.add_argument("--sessions", nargs="+", type=int, default=[100, 1000, 10_000, 100_000, 1_000_000], metavar="N")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    told = {**machine(), "rounds": chosen.rounds, "seconds": chosen.seconds}
    points = [
        point for name in chosen.parts for point in part(name, getattr(chosen, name), chosen.rounds, chosen.seconds)
    ]
    print("\n" + report(points))
    if chosen.results:
        chosen.results.write_text(json.dumps({**told, "points": [asdict(point) for point in points]}, indent=1) + "\n")
    if chosen.picture:
        from benchmarks.peers.growth_picture import draw  # noqa: PLC0415 - only where a picture is wanted

        draw(points, told, chosen.picture)
    return 0


if __name__ == "__main__":
    os.environ.pop("GRIDCTL_STATE_DIR", None)
    try:
        sys.exit(main())
    except Uncounted as error:
        raise SystemExit(f"These figures would not count: {error}") from None
