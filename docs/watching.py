"""Asks every query of the dashboards of a real Prometheus that watches a real grid through an evening, for their pictures.

Must not know how an answer is drawn. What it returns is plain JSON: `drawing.py` can draw it again without a grid.
"""

from __future__ import annotations

import json
import math
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from gridctl.testing import Grid, running_cluster
from monitoring.grafana.provisioning import DASHBOARDS, dashboard
from monitoring.prometheus import Setup, files, targets_file

SCRAPE_S = 2
TOPOLOGY: dict[str, Any] = {
    "name": "city",
    "time_scale": 210,
    "request_service": {"request_timeout_s": 2},
    "balancer": {"admission": "queue", "queue_limit": 25, "max_wait_s": 2700, "poll_interval_s": 2},
    "substations": [
        {"name": "harbour", "max_sessions": 32, "capacity_kw": 180},
        {"name": "market", "max_sessions": 20, "capacity_kw": 165},
        {"name": "museum", "max_sessions": 16, "capacity_kw": 150},
        {"name": "north", "max_sessions": 20, "capacity_kw": 120},
        {"name": "station", "max_sessions": 40, "capacity_kw": 280},
        {"name": "theatre", "max_sessions": 20, "capacity_kw": 165},
    ],
}
#: From ten in the morning until midnight, in four minutes, with more EVs in the evening than there are places for.
LOAD = ["--profile", "residential-weekday", "--rate", "0.0112", "--from", "10:00", "--until", "00:00", "--seed", "7"]
STORM = [
    {"at": "50s", "do": "kill", "target": "museum"},
    {"at": "95s", "do": "pause", "target": "north", "for": "14s"},
    {"at": "150s", "do": "pause", "target": "balancer", "for": "5s"},
    {"at": "180s", "do": "drop", "target": "market", "pct": 20, "for": "15s"},
    {"at": "180s", "do": "delay", "target": "theatre", "by": "0.08s", "for": "15s"},
    {"at": "215s", "do": "kill", "target": "station"},
]
LONG_S = 238


def answers(seconds: float = LONG_S) -> dict[str, Any]:
    """Run it all; the answer to each query of each dashboard: `{dashboard: {panel id: {refId: [series]}}}`, and `window`."""
    with tempfile.TemporaryDirectory(prefix="watching-") as name, running_cluster(topology=TOPOLOGY) as grid:
        folder = Path(name)
        with prometheus(grid, folder) as url:
            began_s = time.time()
            with running(grid, "loadtest", *LOAD), running(grid, *storm(folder, seconds)):
                time.sleep(seconds)
            return {"window": [began_s, began_s + seconds], **asked(url, grid.name, began_s, began_s + seconds)}


def storm(folder: Path, seconds: float) -> list[str]:
    """What breaks the grid meanwhile; it is on its way until the end, so that its audit does not show in the picture."""
    file = folder / "storm.yaml"
    file.write_text(json.dumps(STORM))
    return ["chaos", str(file), "--rate", "0", "--duration", f"{seconds + 60:g}s"]


@contextmanager
def running(grid: Grid, *arguments: str) -> Iterator[None]:
    """A verb of gridctl, until the block ends."""
    command = [sys.executable, "-P", "-m", "gridctl", *arguments]
    process = subprocess.Popen(command, env=dict(grid.environment), stdout=subprocess.DEVNULL)  # noqa: S603
    try:
        yield
        if process.poll() is not None:
            raise SystemExit(f"gridctl {arguments[0]} ended early: exit {process.returncode}")
    finally:
        process.terminate()
        process.wait()


@contextmanager
def prometheus(grid: Grid, folder: Path) -> Iterator[str]:
    """A Prometheus that scrapes the grid; its address, once it has seen every process."""
    targets = grid.state_dir / grid.name / "prometheus" / "targets.json"
    for name, content in files(Setup(targets_file(str(targets)), SCRAPE_S, TOPOLOGY["balancer"]["poll_interval_s"])):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    with socket.socket() as scout:
        scout.bind(("127.0.0.1", 0))
        port = scout.getsockname()[1]
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    process = subprocess.Popen(command)  # noqa: S603
    try:
        yield until_scraped(f"http://127.0.0.1:{port}", process, len(TOPOLOGY["substations"]) + 2)
    finally:
        process.terminate()
        process.wait()


def until_scraped(url: str, process: subprocess.Popen[bytes], expected: int) -> str:
    """`url`, once `expected` targets are up; SystemExit where Prometheus ended."""
    while process.poll() is None:
        try:
            if [each["value"][1] for each in ask(url, "query", query="sum(up)")] == [str(expected)]:
                return url
        except (URLError, ConnectionError):
            pass
        time.sleep(0.2)
    raise SystemExit(f"prometheus ended: exit {process.returncode}")


def ask(url: str, question: str, **parameters: object) -> list[dict[str, Any]]:
    """The series of one answer."""
    with urlopen(f"{url}/api/v1/{question}?{urlencode(parameters)}", timeout=20) as answer:  # noqa: S310
        return list(json.load(answer)["data"]["result"])


def asked(url: str, cluster: str, began_s: float, ended_s: float) -> dict[str, Any]:
    """Every query of every dashboard, and of its annotations, over the time watched or at its end."""
    found: dict[str, Any] = {}
    for name in DASHBOARDS:
        board = json.loads(dashboard(name))
        whole = {"start": began_s, "end": ended_s, "step": SCRAPE_S}
        found[name] = {"annotations": {}}
        for each in board["annotations"]["list"]:
            query = filled(each["expr"], cluster, ended_s - began_s)
            found[name]["annotations"][each["name"]] = ask(url, "query_range", query=query, **whole)
        for panel in (each for each in board["panels"] if each["type"] != "row"):
            found[name][str(panel["id"])] = {}
            for target in panel["targets"]:
                query = filled(target["expr"], cluster, ended_s - began_s)
                instant = ("query", {"time": ended_s}) if target["instant"] else ("query_range", whole)
                found[name][str(panel["id"])][target["refId"]] = ask(url, instant[0], query=query, **instant[1])
    return found


def filled(expr: str, cluster: str, range_s: float) -> str:
    """The query as Grafana sends it when all substations are chosen."""
    values = {"__rate_interval": f"{4 * SCRAPE_S}s", "__range": f"{math.ceil(range_s)}s"}
    values |= {"cluster": cluster, "substation": ".*"}
    return re.sub(r"\$(\w+)", lambda name: values[name[1]], expr)
