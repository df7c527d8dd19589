"""What 100 substations cost on this machine: time to start and stop, memory, CPU at rest, and how fast small verbs answer.

    python benchmarks/hundred.py [--substations 100] [--json]

Beside it a reference of the same run: `python -c pass`, and plain aiohttp services that are each a fresh interpreter (ten
are measured and scaled). Exit 1 when a target is missed. The targets hold on a quiet machine: the load is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

#: A service as one would write it without a zygote.
PLAIN = (
    "import sys; from aiohttp import web\n"
    "async def health(_): return web.json_response({'status': 'ok'})\n"
    "app = web.Application(); app.router.add_get('/health', health)\n"
    "web.run_app(app, host='127.0.0.1', port=int(sys.argv[1]), print=None)"
)
MEASURED = 10
REST_S = 10.0
ROUNDS = 9
#: figure → most allowed.
TARGETS = {"ready_s": 3.0, "down_s": 5.0, "pss_mb_max": 12.0, "help_s": 0.2, "ps_json_s": 0.2}


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--substations", type=int, default=100)
    parser.add_argument("--json", action="store_true", dest="as_json")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hundred-") as folder:
        os.environ["GRIDCTL_STATE_DIR"] = folder
        os.environ["GRIDCTL_NAME"] = "hundred"
        figures = {"load_average": os.getloadavg()[0], **grid(chosen.substations), **reference(chosen.substations)}
    missed = [name for name, most in TARGETS.items() if figures[name] > most]
    show(figures, chosen.as_json)
    return int(bool(missed))


def grid(count: int) -> dict[str, float]:
    """All figures of one grid of `count` substations."""
    figures = {"help_s": median_s("--help")}
    figures["ready_s"] = elapsed_s(lambda: gridctl("up", "-d", "--substations", str(count)))
    try:
        rows = json.loads(gridctl("ps", "--json"))
        pss = [pss_mb(row["pid"]) for row in rows if row["role"] == "substation"]
        figures |= {"pss_mb_median": statistics.median(pss), "pss_mb_max": max(pss)}
        figures["ps_json_s"] = median_s("ps", "--json")
        figures |= at_rest(rows)
    finally:
        figures["down_s"] = elapsed_s(lambda: gridctl("down"))
    return figures


def reference(count: int) -> dict[str, float]:
    """A bare interpreter's time, and what `count` plain services would cost, from ten."""
    bare = [elapsed_s(lambda: run([sys.executable, "-c", "pass"])) for _ in range(ROUNDS)]
    ports = [free_port() for _ in range(MEASURED)]
    began = time.monotonic()
    services = [subprocess.Popen([sys.executable, "-c", PLAIN, str(port)]) for port in ports]
    try:
        for port in ports:
            await_answer(port)
        took_s = time.monotonic() - began
        pss = [pss_mb(service.pid) for service in services]
    finally:
        for service in services:
            service.terminate()
            service.wait()
    scaled = {"plain_ready_s": took_s * count / MEASURED, "plain_pss_mb": statistics.median(pss)}
    return {"python_c_pass_s": statistics.median(bare), **scaled}


def at_rest(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """CPU, in per cent of one core, of supervisor, balancer and all processes while nobody asks for anything."""
    supervisor = psutil.Process(json.loads(gridctl("ls", "--json"))[0]["supervisor_pid"])
    balancer = next(psutil.Process(row["pid"]) for row in rows if row["role"] == "balancer")
    services = [psutil.Process(row["pid"]) for row in rows if row["role"] != "balancer"]
    time.sleep(4.0)  # the supervisor asks more often for a while after somebody looked
    before = [cpu_s([supervisor]), cpu_s([balancer]), cpu_s(services)]
    time.sleep(REST_S)
    after = [cpu_s([supervisor]), cpu_s([balancer]), cpu_s(services)]
    spent = [100 * (new - old) / REST_S for old, new in zip(before, after, strict=True)]
    return {"supervisor_cpu_pct": spent[0], "balancer_cpu_pct": spent[1], "others_cpu_pct": spent[2]}


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """CPU seconds that they used so far."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def pss_mb(pid: int) -> float:
    """Proportional set size in MB (10⁶ bytes): what is shared counts in parts."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(f"no PSS of process {pid}")


def median_s(*arguments: str) -> float:
    """The median wall seconds of a verb."""
    return statistics.median(elapsed_s(lambda: gridctl(*arguments)) for _ in range(ROUNDS))


def elapsed_s(work: Callable[[], object]) -> float:
    """The wall seconds that `work` takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def gridctl(*arguments: str) -> str:
    """What the installed command prints."""
    return run([str(Path(sys.executable).parent / "gridctl"), *arguments])


def run(command: Sequence[str]) -> str:
    """What a command prints; CalledProcessError when it fails."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as scout:
        return int(scout.getsockname()[1])


def await_answer(port: int) -> None:
    """Until somebody listens."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.005)
        else:
            return


def show(figures: dict[str, float], as_json: bool) -> None:
    """Print them as a Markdown table, or as JSON."""
    if as_json:
        print(json.dumps({name: round(value, 3) for name, value in figures.items()}, indent=1))
        return
    print("| figure | measured | target |\n|---|---|---|")
    for name, value in figures.items():
        target = f"≤ {TARGETS[name]:g}{'' if value <= TARGETS[name] else ' MISSED'}" if name in TARGETS else ""
        print(f"| {name} | {value:.3f} | {target} |")


if __name__ == "__main__":
    sys.exit(main())
