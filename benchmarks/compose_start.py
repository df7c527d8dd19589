"""Start to healthy: `gridctl up -d` beside the same grid under Docker Compose, for 3 and for 20 substations.

    python -P benchmarks/compose_start.py [--substations 3 20] [--runs 3]

Needs Docker and docker-compose; images are built before the clock runs, Prometheus and Grafana are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

PROJECT = f"gridctl-bench-{os.getpid()}"
GRIDCTL = (sys.executable, "-P", "-m", "gridctl")
#: No start takes longer (seconds).
PATIENCE_S = 300.0


def run(*command: str, folder: Path, env: dict[str, str]) -> str:
    """What `command` says; it must succeed."""
    done = subprocess.run(command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as scout:
        scout.bind(("127.0.0.1", 0))
        return int(scout.getsockname()[1])


def by_gridctl(folder: Path, substations: int) -> float:
    """Seconds until `up -d` returned: then all are READY."""
    env = {"GRIDCTL_STATE_DIR": str(folder / "state")}
    named = ("--name", PROJECT)
    begin = time.monotonic()
    run(*GRIDCTL, "up", "-d", "--substations", str(substations), *named, folder=folder, env=env)
    took_s = time.monotonic() - begin
    run(*GRIDCTL, "down", "-v", "--yes", *named, folder=folder, env=env)
    return took_s


@contextmanager
def exported(folder: Path, substations: int) -> Iterator[tuple[Path, dict[str, str]]]:
    """The exported folder, its images built, and the variables to run it with."""
    out = folder / f"out-{substations}"
    run(*GRIDCTL, "compose", "export", "-o", str(out), "--substations", str(substations), folder=folder, env={})
    (out / "gridctl-token").write_text("benchmark-" + os.urandom(16).hex())
    env = {"COMPOSE_PROJECT_NAME": PROJECT, "REQUEST_PORT": str(free_port())}
    run("docker-compose", "build", "substation1", "balancer", "charge-request", folder=out, env=env)
    yield out, env


def by_compose(out: Path, env: dict[str, str]) -> float:
    """Seconds until every container is healthy."""
    begin = time.monotonic()
    run("docker-compose", "up", "-d", "charge-request", folder=out, env=env)
    while not _healthy(out, env):
        if time.monotonic() - begin > PATIENCE_S:
            sys.exit(f"not healthy within {PATIENCE_S} s")
        time.sleep(0.1)
    took_s = time.monotonic() - begin
    remove(out, env)
    return took_s


def remove(out: Path, env: dict[str, str]) -> None:
    """All of it; again where the engine takes a container for attached that has just ended."""
    for attempt in range(3):
        done = subprocess.run(
            ["docker-compose", "down", "-v", "-t", "5"],
            cwd=out,
            env={**os.environ, **env},
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            return
        time.sleep(1 + attempt)
    sys.exit("docker-compose down failed three times")


def _healthy(out: Path, env: dict[str, str]) -> bool:
    label = f"label=com.docker.compose.project={PROJECT}"
    ids = run("docker", "ps", "-aq", "--filter", label, folder=out, env=env).split()
    states = [each["State"] for each in json.loads(run("docker", "inspect", *ids, folder=out, env=env))]
    return all(state.get("Health", {}).get("Status") == "healthy" for state in states)


def median_of(runs: int, measure: Callable[[], float]) -> float:
    """The middle of so many measurements."""
    return statistics.median(measure() for _ in range(runs))


def main() -> None:
    """Print one line for each number of substations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--substations", type=int, nargs="+", default=[3, 20])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if not (shutil.which("docker") and shutil.which("docker-compose")):
        print("skipped: docker and docker-compose are not here")
        return
    print(f"{'substations':>11}  {'gridctl up -d':>13}  {'Compose':>9}   (median of {options.runs}, start to healthy)")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for count in options.substations:
            own = median_of(options.runs, partial(by_gridctl, folder, count))
            with exported(folder, count) as (out, env):
                theirs = median_of(options.runs, partial(by_compose, out, env))
            print(f"{count:>11}  {own:>11.2f} s  {theirs:>7.1f} s", flush=True)


if __name__ == "__main__":
    main()
