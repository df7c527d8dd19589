"""How long a user waits for `gridctl`: its quick verbs, and `up -d` until three substations are healthy.

    python -m benchmarks.startup [--rounds N] [--beside NAME=PATH/TO/ITS/.venv/bin/python] [--check]

Every round runs all of them, one after the other, and a bare `python -c pass` first: the ratio is of two runs of one round,
so it says about the same on a busy machine. `docker-compose --version` runs along if it is installed. Another installation
of gridctl may be set beside this one. `--check`: exit 1 where a median is beyond what it should be on a quiet machine. Where
others are at work, `sudo chrt -f 5 …` puts this and all that it starts before them. Linux only.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers.field import free_ports

#: Wall seconds that a verb may take on a quiet machine.
LIMITS_S = {"--help": 0.15, "ps": 0.15, "logs": 0.15, "up -d": 0.5}
BARE = "python -c pass"
PEER = "docker-compose --version"
#: What is typed while the grid runs.
WHILE_UP = ("ps", "logs")


@dataclass(slots=True)
class Runs:
    """What one command took, a value a round: `wall_s`, and `cpu_s` of the command itself without what it left running."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def take(self, command: list[str], environment: dict[str, str]) -> None:
        """Run `command` once more; CalledProcessError where it fails."""
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        with tempfile.TemporaryFile() as out:  # no pipe: what stays behind would hold it open
            subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=True)
        self.wall_s.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _topology() -> str:
    request, balancer, *others = free_ports(5)
    rows = "".join(f"  - {{name: substation{number}, port: {port}}}\n" for number, port in enumerate(others, 1))
    return f"request_service: {{port: {request}}}\nbalancer: {{port: {balancer}}}\nsubstations:\n{rows}"


def _commands(python: str) -> Iterator[tuple[str, list[str]]]:
    script = Path(python).with_name("gridctl")
    program = [str(script)] if script.exists() else [python, "-P", "-m", "gridctl"]
    yield "--help", [*program, "--help"]
    yield "up -d", [*program, "up", "-d"]
    for verb in WHILE_UP:
        yield verb, [*program, verb]
    yield "down", [*program, "down"]


def measure(installations: dict[str, str], rounds: int) -> dict[str, Runs]:
    """Each command of each installation (name → its Python) `rounds` times, in turns; the first round is not counted."""
    found: dict[str, Runs] = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "GRIDCTL_STATE_DIR": f"{folder}/state", "GRIDCTL_FILE": f"{folder}/gridctl.yaml"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # it is there after the first round, as in an installation
        for number in range(rounds + 1):
            Path(folder, "gridctl.yaml").write_text(_topology())
            kept = found if number else {}
            kept.setdefault(BARE, Runs()).take([sys.executable, "-c", "pass"], environment)
            if shutil.which("docker-compose"):
                kept.setdefault(PEER, Runs()).take(PEER.split(), environment)
            for name, python in installations.items():
                for what, command in _commands(python):
                    kept.setdefault(f"{name} {what}", Runs()).take(command, environment)
    return found


def _line(name: str, runs: Runs, bare: Runs) -> str:
    ratios = [wall / unit for wall, unit in zip(runs.wall_s, bare.wall_s, strict=True)]
    wall_s = f"{statistics.median(runs.wall_s):6.3f} ({min(runs.wall_s):.3f}…{max(runs.wall_s):.3f})"
    times = f"{statistics.median(ratios):5.1f} ({min(ratios):.1f}…{max(ratios):.1f})"
    return f"{name:<28} {wall_s:<24} {statistics.median(runs.cpu_s) * 1000:8.0f}   {times}"


def main() -> int:
    """Measure, print a line a command, and check if that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--beside", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    installations = {"gridctl": sys.executable, **dict(each.split("=", 1) for each in options.beside)}
    load, cores = os.getloadavg()[0], os.cpu_count()
    found = measure(installations, options.rounds)
    print(
        f"Python {platform.python_version()}, {cores} cores, load {load:.1f} before; medians of {options.rounds} rounds"
    )
    print(f"{'':<28} {'wall s (least…most)':<24} {'CPU ms':>8}   times {BARE}")
    for name, runs in found.items():
        print(_line(name, runs, found[BARE]))
    late = [what for what, limit in LIMITS_S.items() if statistics.median(found[f"gridctl {what}"].wall_s) > limit]
    if late:
        print("beyond what it should take: " + ", ".join(f"{what} ({LIMITS_S[what]:g} s)" for what in late))
    return int(options.check and bool(late))


if __name__ == "__main__":
    sys.exit(main())
