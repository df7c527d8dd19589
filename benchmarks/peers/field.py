"""Starts who is compared: grids by `gridctl up`, proxies before the first grid's substations, the Flask build.

Substations have room for everybody, sessions last one wall second, and every grid fsyncs: nothing is refused, and all of
it ends. Must not measure.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.peers import proxies
from benchmarks.peers.figures import FLASK, OURS, SUBSTATION

TIME_SCALE, SESSION_S = 10, 10.0
CAPACITY = 1_000_000
#: A grid that resumes a million sessions may take so long (wall seconds).
READY_S = 180.0
#: What is needed beside Python, by Debian package and program.
PROGRAMS = {"haproxy": "haproxy", "nginx": "nginx-light", "wrk": "wrk"}


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody to be compared: where to send requests, whose CPU it costs, and the substations that count what they took."""

    name: str
    url: str
    groups: Mapping[str, Sequence[psutil.Process]]
    substations: Sequence[str]
    path: str = "/charge"

    def taken(self) -> int:
        """How many its substations say that they accepted since they began."""
        return sum(_accepted(url) for url in self.substations)


@dataclass(frozen=True, slots=True)
class Grid:
    """A running cluster, started by an interpreter that has gridctl."""

    python: str
    name: str
    environment: Mapping[str, str]
    ready_s: float

    def rows(self) -> list[dict[str, Any]]:
        """What `gridctl ps --json` says."""
        return list(json.loads(gridctl(self.python, self.environment, "ps", "--json")))


def gridctl(python: str, environment: Mapping[str, str], *arguments: str) -> str:
    """What the command prints; CalledProcessError where it fails."""
    command = [python, "-P", "-m", "gridctl", *arguments]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"gridctl {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def grid(
    folder: Path, name: str, python: str, topology: Mapping[str, Any], live: Callable[[Path], None] | None = None
) -> Iterator[Grid]:
    """A cluster of its own, with state in `folder`, on free ports.

    Where `live` is given, it is started once before: `live` then finds the journals of all substations in a folder, each
    with a session or two, writes more into them, and the cluster resumes those.
    """
    folder.mkdir()
    file = folder / "gridctl.yaml"
    requests_port, balancer_port, *others = free_ports(2 + topology["substations"])
    file.write_text(
        json.dumps(
            {
                "name": name,
                "durability": "fsync",
                **topology,
                "request_service": {**topology.get("request_service", {}), "port": requests_port},
                "balancer": {**topology.get("balancer", {}), "port": balancer_port},
                "substations": [{"name": f"substation{number}", "port": port} for number, port in enumerate(others, 1)],
            }
        )
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GRIDCTL_", "PYTHON", "OTEL_"))}
    environment = {**kept, "GRIDCTL_STATE_DIR": str(folder / "state"), "GRIDCTL_NAME": name}
    up = ("up", "--detach", "--wait-timeout", str(READY_S), "--file", str(file))
    if live is not None:
        gridctl(python, environment, *up)
        burst = str(2 * topology["substations"])
        gridctl(python, environment, "loadtest", "--burst", burst, "--json")
        gridctl(python, environment, "down")
        live(folder / "state" / name / "data")
    began_s = time.monotonic()
    try:
        gridctl(python, environment, *up)
        yield Grid(python, name, environment, time.monotonic() - began_s)
    finally:
        gridctl(python, environment, "down")


@contextmanager
def peers(
    folder: Path, only: Sequence[str], beside: Mapping[str, str], count: int, workers: int | None
) -> Iterator[list[Peer]]:
    """Everybody named in `only`, and for each of `beside` (name → interpreter) a grid of that installation, all running."""
    topology: dict[str, Any] = {
        "time_scale": TIME_SCALE,
        "substations": count,
        "defaults": {"max_sessions": CAPACITY, "session_s": SESSION_S},
    }
    if workers is not None:
        topology["request_service"] = {"workers": workers}
    with ExitStack() as stack:
        everybody = []
        ours = stack.enter_context(grid(folder / "ours", "bench", sys.executable, topology))
        for name in only:
            everybody.append(_peer(stack, folder, name, ours, count))
        for name, python in beside.items():
            other = stack.enter_context(grid(folder / name, f"bench-{name}", python, topology))
            everybody.append(gridctl_peer(name, other))
        yield everybody


def _peer(stack: ExitStack, folder: Path, name: str, ours: Grid, count: int) -> Peer:
    if name == OURS:
        return gridctl_peer(name, ours)
    if name == FLASK:
        return _flask(stack, count)
    rows = [row for row in ours.rows() if row["role"] == "substation"]
    urls, processes = [row["url"] for row in rows], [psutil.Process(row["pid"]) for row in rows]
    if name == SUBSTATION:
        return Peer(name, urls[0], {"substations": processes[:1]}, urls[:1])
    (port,) = free_ports(1)
    own = folder / name
    own.mkdir()
    make = {"haproxy": proxies.haproxy_command, "nginx": proxies.nginx_command}[name]
    proxy = started(stack, make(own, port, [url.removeprefix("http://") for url in urls]), port)
    return Peer(name, f"http://127.0.0.1:{port}", {"proxy": proxy, "substations": processes}, urls)


def gridctl_peer(name: str, running: Grid) -> Peer:
    """A running cluster to be compared."""
    roles = {"charge-request": "request service", "balancer": "balancer", "substation": "substations"}
    rows = running.rows()
    groups: dict[str, list[psutil.Process]] = {title: [] for title in roles.values()}
    for row in rows:
        main = psutil.Process(row["pid"])
        groups[roles[row["role"]]] += [main, *main.children(recursive=True)]
    url = next(row["url"] for row in rows if row["role"] == "charge-request")
    return Peer(name, url, groups, [row["url"] for row in rows if row["role"] == "substation"])


def _flask(stack: ExitStack, count: int) -> Peer:
    requests_port, balancer_port, *ports = free_ports(2 + count)
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    naive = [sys.executable, "-P", str(Path(__file__).with_name("naive.py"))]
    session_s = str(SESSION_S / TIME_SCALE)
    substations = [
        process
        for port in ports
        for process in started(stack, [*naive, "substation", str(port), str(CAPACITY), session_s], port)
    ]
    balancer = started(stack, [*naive, "balancer", str(balancer_port), *urls], balancer_port)
    front = [*naive, "request", str(requests_port), f"http://127.0.0.1:{balancer_port}"]
    groups = {
        "request service": started(stack, front, requests_port),
        "balancer": balancer,
        "substations": substations,
    }
    return Peer(FLASK, f"http://127.0.0.1:{requests_port}", groups, urls)


def started(stack: ExitStack, command: Sequence[str], port: int, log: Path | None = None) -> list[psutil.Process]:
    """Starts a program, which ends with `stack` and may write to `log`; its processes, once it listens on `port`."""
    said = None if log is None else stack.enter_context(log.open("wb"))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
    stack.callback(_stop, process)
    end = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            main = psutil.Process(process.pid)
            return [main, *main.children(recursive=True)]
    raise SystemExit(f"{command[0]} did not listen on port {port}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, each another one."""
    scouts = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(scout.getsockname()[1]) for scout in scouts]
    for scout in scouts:
        scout.close()
    return ports


def _accepted(url: str) -> int:
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith('substation_requests_total{outcome="accepted"}'):
                return int(float(line.split()[-1]))
    raise LookupError(f"{url} does not say what it accepted")
