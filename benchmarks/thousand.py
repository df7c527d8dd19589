"""A thousand substations in one cluster on this machine, and ten thousand before a balancer alone, against their targets.

    make thousand                                                    # about ten minutes
    make thousand THOUSAND_ARGS='--substations 200 --reporters 0'

Start, memory, CPU at rest, small verbs, a load over all of them, and stop; beside it, in the same run, as many bare forks
of an interpreter that has imported as much. The stand-ins for ten thousand are real substation services in one process.
The start is measured once more at the end: a virtual machine may have to be given memory by the one below it, at the first
start only, and a page that has yet to be given costs ten times one that is there.
Prints Markdown; exit 1 when a target is missed. The targets are for a machine that is left alone: how many cores others
took is printed, and CPU seconds beside wall seconds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks.growth import balancer
from benchmarks.hundred import cpu_s, elapsed_s, gridctl, pss_mb
from gridctl import kernel

#: After a start each substation's sessions are asked for again, the last time after the request timeout (wall seconds).
SETTLED_S, REST_S = 15.0, 20.0
#: EVs a second (wall), and for how long (wall seconds).
RATE, LOAD_S = 50, 30
#: figure → most allowed.
TARGETS = {
    "up -d, wall s": 15.0,
    "PSS of a substation, MB, mean": 10.0,
    "polling, % of a core": 15.0,
    "ps, wall s": 2.0,
    "top --once, wall s": 2.0,
    "avoidable rejections": 0.0,
    "down, wall s": 10.0,
}
AIMS = {"up -d, wall s": 10.0, "PSS of a substation, MB, mean": 8.0}
#: As many modules as a zygote has, and a fork of nothing but that, each of which waits until all are there.
BARE = """
import gc, importlib, os, sys, time
gc.disable()
from services.run import needs
for module in needs({}):
    importlib.import_module(module)
gc.freeze()
began_s = time.monotonic()
gate, held = os.pipe()
pids = []
for _ in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        os.close(held)
        os.read(gate, 1)
        os._exit(0)
    pids.append(pid)
took_s = time.monotonic() - began_s
os.close(held)
for pid in pids:
    os.waitpid(pid, 0)
print(took_s, sum(os.times()[:4]))
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster: its supervisor, and its services by role."""

    supervisor: psutil.Process
    services: dict[str, list[psutil.Process]]

    def groups(self) -> dict[str, list[psutil.Process]]:
        """All its processes, by what they do."""
        return {"supervisor": [self.supervisor], **self.services}

    def spent_s(self) -> float:
        """CPU seconds of all of them so far, and of those that ended."""
        times = self.supervisor.cpu_times()
        ended = times.children_user + times.children_system
        return sum(cpu_s(group) for group in self.groups().values()) + ended


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--substations", type=int, default=1_000, help="in one cluster; 0: none")
    parser.add_argument("--reporters", type=int, default=10_000, help="before a balancer alone; 0: none")
    chosen = parser.parse_args()
    began_s, others = time.monotonic(), busy_s()
    kernel.become_subreaper()  # so that the supervisor's end, and all it cost, is told here
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="thousand-") as folder:
        os.environ.update({"GRIDCTL_STATE_DIR": folder, "GRIDCTL_NAME": "thousand"})
        if chosen.substations:
            figures |= bare_forks(chosen.substations)
            figures |= dict(grid(chosen.substations, Path(folder)))
        if chosen.reporters:
            figures |= alone(Path(folder) / "alone", chosen.reporters)
    mine = sum(os.times()[:4])
    cores = (busy_s() - others - mine) / (time.monotonic() - began_s)
    show(figures, max(0.0, cores))
    return int(any(figures[name] > most for name, most in TARGETS.items() if name in figures))


def busy_s() -> float:
    """CPU seconds that all processes of the machine used so far."""
    times = psutil.cpu_times()
    return times.user + times.system + times.nice + times.irq + times.softirq


def bare_forks(count: int) -> dict[str, float]:
    """What the forks alone cost."""
    done = subprocess.run([sys.executable, "-c", BARE, str(count)], check=True, capture_output=True, text=True)
    wall_s, spent_s = (float(word) for word in done.stdout.split())
    return {"as many bare forks, wall s": wall_s, "as many bare forks, CPU s": spent_s}


def grid(count: int, folder: Path) -> Iterator[tuple[str, float]]:
    """All figures of one cluster of `count` substations."""
    file = folder / "gridctl.yaml"
    file.write_text(json.dumps({"name": "thousand", "time_scale": 60, "substations": count}))
    up = ("up", "-d", "--file", str(file), "--wait-timeout", "300")
    yield "up -d, wall s", elapsed_s(lambda: gridctl(*up))
    try:
        rows = json.loads(gridctl("ps", "--json"))
        cluster = processes(rows)
        yield "up -d, CPU s", cluster.spent_s()
        yield "started more than once", float(sum(row["restarts"] > 0 for row in rows))
        pss = [pss_mb(each.pid) for each in cluster.services["substation"]]
        yield "PSS of a substation, MB, mean", sum(pss) / len(pss)
        yield "PSS of a substation, MB, most", max(pss)
        yield from at_rest(cluster)
        yield "ps, wall s", elapsed_s(lambda: gridctl("ps"))
        yield "top --once, wall s", elapsed_s(lambda: gridctl("top", "--once"))
        yield from loaded()
        before_s = cluster.spent_s()
    finally:
        down_s = elapsed_s(lambda: gridctl("down"))
    yield "down, wall s", down_s
    yield "down, CPU s, and the zygote's life", all_told_s(cluster.supervisor.pid) - before_s
    yield "up -d again at once, wall s", again_s(up)


def again_s(up: Sequence[str]) -> float:
    """How long it takes once more: a virtual machine has been given by the one below the memory that it takes."""
    try:
        took_s = elapsed_s(lambda: gridctl(*up))
        pid = int(json.loads(gridctl("ls", "--json"))[0]["supervisor_pid"])
    finally:
        gridctl("down")
    os.waitpid(pid, 0)
    return took_s


def processes(rows: Sequence[dict[str, Any]]) -> Cluster:
    """Who runs."""
    services: dict[str, list[psutil.Process]] = {}
    for row in rows:
        services.setdefault(row["role"], []).append(psutil.Process(row["pid"]))
    return Cluster(psutil.Process(json.loads(gridctl("ls", "--json"))[0]["supervisor_pid"]), services)


def at_rest(cluster: Cluster) -> Iterator[tuple[str, float]]:
    """Per cent of a core while nobody asks for anything; polling is what balancer and substations spend then."""
    time.sleep(SETTLED_S)
    before = {name: cpu_s(group) for name, group in cluster.groups().items()}
    time.sleep(REST_S)
    spent = {name: 100 * (cpu_s(group) - before[name]) / REST_S for name, group in cluster.groups().items()}
    yield "polling, % of a core", spent["balancer"] + spent["substation"]
    yield "of that the balancer, %", spent["balancer"]
    yield "of that all substations, and their answers to the supervisor, %", spent["substation"]
    yield "supervisor, % of a core", spent["supervisor"]
    yield "balancer, PSS, MB", pss_mb(cluster.services["balancer"][0].pid)


def loaded() -> Iterator[tuple[str, float]]:
    """A load over all of them."""
    words = ("loadtest", "--wall", "--rate", str(RATE), "--duration", f"{LOAD_S}s", "--json")
    found = json.loads(gridctl(*words))
    yield f"{RATE} EVs a second for {LOAD_S} s: accepted", found["accepted"]
    yield "refused", found["refused"]
    yield "failed", found["failed"]
    unknown = found["avoidable_rejections"] is None
    yield "avoidable rejections", float("inf") if unknown else found["avoidable_rejections"]
    yield "p99, ms", found["latency_ms"]["p99"]


def all_told_s(pid: int) -> float:
    """CPU seconds of a child of this process that ended, and of all its children."""
    _, _, usage = os.wait4(pid, 0)
    return usage.ru_utime + usage.ru_stime


def alone(folder: Path, count: int) -> dict[str, float]:
    """A balancer alone before `count` reporters."""
    with balancer(folder, count) as (peer, listens_s):
        (own,) = peer.groups["balancer"]
        ready_s = listens_s + heard_s(peer.url)
        time.sleep(SETTLED_S)
        before_s = cpu_s([own])
        time.sleep(REST_S)
        figures = {
            f"balancer before {count:,}: all heard after, wall s": ready_s,
            "its polling, % of a core": 100 * (cpu_s([own]) - before_s) / REST_S,
            "its PSS, MB": pss_mb(own.pid),
        }
        before_s, began_s = cpu_s([own]), time.monotonic()
        figures["1,000 EVs one after the other: taken"] = float(routed(peer.url))
        figures["CPU of the balancer an EV, ms, polls included"] = cpu_s([own]) - before_s
        figures["wall ms an EV"] = time.monotonic() - began_s
    return figures


def heard_s(url: str, within_s: float = 120.0) -> float:
    """How long it takes until the balancer at `url` has heard everybody, within seconds."""
    address, began_s = urlsplit(url), time.monotonic()
    while time.monotonic() < began_s + within_s:
        with closing(http.client.HTTPConnection(address.hostname or "", address.port)) as connection:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            answer.read()
        if answer.status == 200:
            break
        time.sleep(0.1)
    return time.monotonic() - began_s


def routed(url: str) -> int:
    """How many of 1,000 EVs were taken."""
    address = urlsplit(url)
    taken = 0
    with closing(http.client.HTTPConnection(address.hostname or "", address.port)) as connection:
        for number in range(1_000):
            body = json.dumps({"ev_id": f"EV{number}"})
            connection.request("POST", "/route", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            taken += answer.status == 202
    return taken


def show(figures: dict[str, float], cores: float) -> None:
    """Print them as a Markdown table."""
    print(f"Others took {cores:.1f} of {os.cpu_count()} cores meanwhile.\n")
    print("| figure | measured | target | aim |\n|---|---|---|---|")
    for name, value in figures.items():
        most = TARGETS.get(name)
        target = "" if most is None else f"≤ {most:g}{'' if value <= most else ' MISSED'}"
        aim = f"≤ {AIMS[name]:g}" if name in AIMS else ""
        print(f"| {name} | {value:,.2f} | {target} | {aim} |")


if __name__ == "__main__":
    sys.exit(main())
