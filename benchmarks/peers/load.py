"""One run of one peer under one load, by wrk or by our load tester, with the CPU that every group of processes spent on it.

Must not know which peers there are.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.peers.field import TIME_SCALE, Peer
from benchmarks.peers.figures import Sample, loadtest_figures, wrk_figures

SCRIPT = Path(__file__).with_name("unique.lua")
#: Wall seconds between two runs: all sessions of the one before have ended.
PAUSE_S = 1.5


class Uncounted(Exception):
    """A run whose figures cannot be believed: something was answered that is no 202, or substations counted less."""


@dataclass(frozen=True, slots=True)
class Placing:
    """Cores for who makes the load and for everybody else; None: wherever the kernel puts them."""

    load: Sequence[int] | None = None
    rest: Sequence[int] | None = None

    @property
    def threads(self) -> int:
        """Of wrk: one where it has few cores."""
        return max(1, len(self.load or ()) or (os.cpu_count() or 1) // 4)

    def pin(self, peers: Iterable[Peer]) -> None:
        """Put the peers where they belong."""
        if self.rest is not None:
            for process in (each for peer in peers for group in peer.groups.values() for each in group):
                process.cpu_affinity(list(self.rest))

    def words(self) -> str:
        """For the record."""
        if self.load is None:
            return "nothing pinned"
        return f"load on cores {list(self.load)}, everything else on {list(self.rest or ())}"


@contextlib.contextmanager
def hurried(peers: Iterable[Peer]) -> Iterator[None]:
    """Gives everybody's session the niceness that this process was started with, until the end of the block.

    Linux shares cores between sessions first (autogroups), and niceness counts within one only: a peer in a session of its
    own would take no notice of `nice make bench`.
    """
    own, wanted = Path("/proc/self/autogroup"), os.nice(0)
    if not wanted or not own.exists():
        yield
        return
    before = own.read_text().split()[-1]
    for process in (each for peer in peers for group in peer.groups.values() for each in group):
        Path(f"/proc/{process.pid}/autogroup").write_text(str(wanted))
    own.write_text(str(wanted))
    try:
        yield
    finally:
        own.write_text(before)


def rehearse(peer: Peer, placing: Placing, seconds: float) -> None:
    """A run that looks at every single status, and warms everything up; Uncounted where one is no 202."""
    done = _wrk(peer, placing, 64, seconds, "strict")
    figures = wrk_figures(done)
    if figures["faults"]:
        raise Uncounted(f"{peer.name}: {figures['faults']} of {figures['accepted']}")
    time.sleep(PAUSE_S)


def measure(peer: Peer, load: str, placing: Placing, number: int, seconds: float) -> Sample:
    """One run of about `seconds`; Uncounted where substations took fewer than were answered."""
    kind, _, amount = load.partition(":")
    taken, spent, busy, began_s = peer.taken(), spent_s(peer), _busy_s(), time.monotonic()
    children = psutil.Process().cpu_times()
    if kind == "closed":
        figures = wrk_figures(_wrk(peer, placing, int(amount), seconds))
    else:
        figures = loadtest_figures(_loadtest(peer, placing, float(amount), seconds))
    wall_s, after, busy_after, ended = (
        time.monotonic() - began_s,
        spent_s(peer),
        _busy_s(),
        psutil.Process().cpu_times(),
    )
    used = {group: after[group] - before for group, before in spent.items()}
    own = (ended.children_user + ended.children_system) - (children.children_user + children.children_system)
    used["load"] = own
    others = max(0.0, (busy_after - busy - sum(used.values())) / wall_s)
    time.sleep(PAUSE_S)
    if not figures["accepted"]:
        raise Uncounted(
            f"{peer.name}: nobody was answered 202 in {seconds:g} s; are these too short for a busy machine?"
        )
    if peer.substations and (counted := peer.taken() - taken) < figures["accepted"]:
        raise Uncounted(f"{peer.name}: {figures['accepted']} were told 202, substations took {counted}")
    return _sample(peer.name, load, number, figures, used, others)


def _sample(
    peer: str, load: str, number: int, figures: dict[str, Any], spent_s: dict[str, float], others: float
) -> Sample:
    accepted = figures["accepted"]
    return Sample(
        peer=peer,
        load=load,
        round=number,
        accepted=accepted,
        per_s=round(accepted / figures["duration_s"], 1),
        **{f"{name}_ms": figures[f"{name}_ms"] for name in ("p50", "p99", "max")},
        cpu_us={group: round(1e6 * value / max(1, accepted), 1) for group, value in spent_s.items()},
        others_cores=round(others, 2),
        faults=figures["faults"],
    )


def _wrk(peer: Peer, placing: Placing, connections: int, seconds: float, *more: str) -> str:
    threads = min(placing.threads, connections)
    options = ["-t", str(threads), "-c", str(connections), "-d", f"{max(1, round(seconds))}s", "--timeout", "10s"]
    run_id = secrets.token_hex(4)
    return _run(["wrk", *options, "-s", str(SCRIPT), f"{peer.url}{peer.path}", "--", run_id, *more], placing)


def _loadtest(peer: Peer, placing: Placing, rate_per_s: float, seconds: float) -> str:
    flags = ["--target", peer.url, "--time-scale", str(TIME_SCALE), "--wall", "--rate", repr(rate_per_s)]
    command = [sys.executable, "-P", "-m", "gridctl", "loadtest", *flags, "--duration", f"{seconds:g}s", "--json"]
    return _run(command, placing)


def _run(command: Sequence[str], placing: Placing) -> str:
    cores = placing.load
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if cores is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(process.pid).cpu_affinity(list(cores))
    said, complained = process.communicate()
    if process.returncode:
        raise Uncounted(f"{command[0]}: exit {process.returncode}\n{said}{complained}")
    return said


def spent_s(peer: Peer) -> dict[str, float]:
    """CPU seconds that each group used so far."""
    found = {}
    for group, processes in peer.groups.items():
        times = [process.cpu_times() for process in processes]
        found[group] = sum(each.user + each.system for each in times)
    return found


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))
