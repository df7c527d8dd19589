"""Draws the README's picture: `gridctl top` of a real grid under load. `make picture` runs it.

`python docs/picture.py FILE.svg`. A private grid is started, given an evening's load that grows and falls, drawn at its
fullest, and stopped. One grid minute passes in a second, so the sparklines show a while.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gridctl.testing import Grid, running_cluster

TOPOLOGY = {
    "name": "city",
    "time_scale": 10,
    "defaults": {"max_sessions": 10, "session_s": 120, "power_kw": 11},
    "substations": [
        {"name": "harbour", "max_sessions": 16, "capacity_kw": 154},
        {"name": "market", "capacity_kw": 110},
        {"name": "museum", "max_sessions": 8, "capacity_kw": 88},
        {"name": "north", "capacity_kw": 88},
        {"name": "station", "max_sessions": 20, "capacity_kw": 176},
        {"name": "theatre", "capacity_kw": 110},
    ],
}
#: EVs per grid second: a morning, a dip, an evening; 66 slots of 120 s take 0.55/s.
STAGES = "0.1..0.4:150s,0.4..0.2:150s,0.2..0.5:300s,0.5:200s"


def draw(target: Path) -> None:
    """Run the grid under load and write the picture of its last moment."""
    with running_cluster(topology=TOPOLOGY) as grid:
        command = [
            sys.executable,
            "-P",
            "-m",
            "gridctl",
            "loadtest",
            "--stages",
            STAGES,
            "--arrivals",
            "poisson",
            "--seed",
            "7",
        ]
        load = subprocess.Popen(command, env=dict(grid.environment), stdout=subprocess.DEVNULL)  # noqa: S603
        try:
            load.wait(timeout=75)
        except subprocess.TimeoutExpired:
            save(grid, target)
        else:
            raise SystemExit(f"the load test ended early: exit {load.returncode}")
        finally:
            load.terminate()
            load.wait()


def save(grid: Grid, target: Path) -> None:
    """Write the picture; SystemExit with what `top` said when it cannot."""
    done = grid.run("top", "--once", "--svg", str(target.absolute()))
    if done.returncode:
        raise SystemExit(done.stderr)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
