"""What `gridctl top` costs: CPU seconds a second with 100 changing substations, on ptys of 80x24 and 200x110.

    python -m benchmarks.top_cost [SECONDS]

The whole command runs as a user runs it, against a stand-in for the supervisor; importing and starting are not counted.
Exit 1 when a size costs 5 % of a core or more.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.gridctl.top.screen import Run
from tests.gridctl.top.snapshots import lively
from tests.gridctl.top.supervisor import supervisor

LIMIT_PCT = 5.0
SIZES = ((80, 24), (200, 110))


def cost_pct(root: Path, size: tuple[int, int], seconds: float) -> tuple[float, float]:
    """CPU in per cent of one core, and kB written a second, over `seconds` wall seconds after the first frame."""
    with Run(["-m", "gridctl", "top", "--name", "grid"], size, {**os.environ, "GRIDCTL_STATE_DIR": str(root)}) as run:
        run.shows("substation1")
        process = psutil.Process(run.process.pid)
        before, start = process.cpu_times(), time.monotonic()
        written = 0
        while (left := start + seconds - time.monotonic()) > 0:
            if select.select([run.master], [], [], left)[0]:
                written += len(os.read(run.master, 1 << 16))
        after, wall_s = process.cpu_times(), time.monotonic() - start
        run.press("q")
        run.ends()
    spent_s = after.user + after.system - before.user - before.system
    return 100 * spent_s / wall_s, written / wall_s / 1000


def main() -> int:
    """Measure each size and print one JSON object a line."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    frames = itertools.cycle([lively(100, tick) for tick in range(20)])
    worst = 0.0
    with tempfile.TemporaryDirectory() as root, supervisor(Path(root), lambda: next(frames)):
        for size in SIZES:
            cpu_pct, kb_per_s = cost_pct(Path(root), size, seconds)
            worst = max(worst, cpu_pct)
            figures = {"cpu_pct": round(cpu_pct, 2), "kb_per_s": round(kb_per_s, 1), "wall_s": seconds}
            print(json.dumps({"columns": size[0], "lines": size[1], "substations": 100, **figures}))
    return int(worst >= LIMIT_PCT)


if __name__ == "__main__":
    sys.exit(main())
