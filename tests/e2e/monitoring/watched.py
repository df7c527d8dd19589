"""A grid that a real Prometheus watched through a few bad seconds: more EVs than places, a crash, faults, silence.

Prometheus stays for the questions of tests; the grid is gone by then. All that is asked is asked of the time between
`began_s` and `ended_s`, so what a question gives does not depend on when a test asks it.
"""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import yaml

from gridctl.testing import Grid, running_cluster
from monitoring import rules
from monitoring.prometheus import Setup, files, targets_file

CLUSTER = "watched"
SUBSTATIONS = ["east", "north", "south"]
#: Wall seconds between two scrapes: the export says 5, which would take a minute for what is seen here.
SCRAPE_S = 0.5
TOPOLOGY: dict[str, Any] = {
    "name": CLUSTER,
    "time_scale": 10,
    "durability": "process",
    "request_service": {"request_timeout_s": 1},
    "balancer": {"poll_interval_s": 0.5, "admission": "queue", "queue_limit": 8, "max_wait_s": 10},
    "defaults": {"session_s": 15, "power_kw": 7.4},
    "substations": [
        {"name": "north", "max_sessions": 4, "capacity_kw": 29.6},
        {"name": "south", "max_sessions": 3},
        {"name": "east", "max_sessions": 2, "capacity_kw": 22},
    ],
}
#: EVs a grid second: nine places of 15 s take 0.6.
LOAD = ("--stages", "0.4:30s,1:400s", "--arrivals", "poisson", "--seed", "3")
STORM = [
    {"at": "2s", "do": "kill", "target": "north"},
    {"at": "5s", "do": "kill", "target": "north"},
    {"at": "3s", "do": "drop", "target": "south", "pct": 30, "for": "4s"},
    {"at": "3s", "do": "duplicate", "target": "east", "pct": 30, "for": "4s"},
    {"at": "3s", "do": "delay", "target": "balancer", "by": "0.05s", "for": "4s"},
    {"at": "8s", "do": "pause", "target": "east", "for": "2s"},
    {"at": "8s", "do": "pause", "target": "balancer", "for": "2.5s"},
]
#: What must have been seen, in PromQL over {window}: on a machine that is busy with other things it takes a little longer.
SEEN = [
    "max_over_time(balancer_queue_length[{window}]) > 0",
    'increase(balancer_requests_total{{outcome="refused"}}[{window}]) > 0',
    "increase(balancer_queue_drops_total[{window}]) > 0",
    "increase(balancer_queue_wait_seconds_count[{window}]) > 0",
    "increase(charge_request_failures_total[{window}]) > 0",
    'increase(substation_requests_total{{substation_id="north",outcome!~"accepted|repeated"}}[{window}]) > 0',
    "increase(substation_charging_time_seconds_count[{window}]) > 0",
    'changes(process_start_time_seconds{{substation_id="north"}}[{window}]) > 1',
    'ALERTS{{alertname="ServiceRestarting",alertstate="firing"}}',
    'ALERTS{{alertname="Theirs",alertstate="firing",cluster="watched"}}',
    'min_over_time(up{{substation_id="east"}}[{window}]) == 0',
    "max_over_time(chaos_reply_drop_ratio[{window}]) > 0",
    "max_over_time(chaos_reply_delay_seconds[{window}]) > 0",
    "max_over_time(chaos_reply_duplicate_ratio[{window}]) > 0",
]
PATIENCE_S = 60.0
JSON = {"Content-Type": "application/json"}
#: Another program that the same Prometheus watches, itself, in a cluster of the same name and in one of another, …
THEIRS = "theirs"
#: … and its alarm.
THEIR_ALARM = {"alert": "Theirs", "expr": f'up{{job="{THEIRS}"}} == 1'}


@dataclass(frozen=True)
class Series:
    """One series of an answer: its labels, and its samples (time in seconds, value) that are numbers."""

    labels: dict[str, str]
    samples: list[tuple[float, float]]


@dataclass(frozen=True)
class Watched:
    """A Prometheus at `url`, and the time that it watched, in Unix seconds."""

    url: str
    began_s: float
    ended_s: float

    @property
    def window_s(self) -> int:
        """How long it watched, in whole seconds: what Grafana calls `$__range`."""
        return math.ceil(self.ended_s - self.began_s)

    def over_time(self, expr: str, step_s: float = 1.0) -> list[Series]:
        """The answer to `expr` at each step of the time watched; AssertionError where there is none."""
        times = {"start": self.began_s, "end": self.ended_s, "step": step_s}
        return [_series(each, each["values"]) for each in ask(self.url, "query_range", query=expr, **times)["result"]]

    def at_the_end(self, expr: str) -> list[Series]:
        """The answer to `expr` at the end of the time watched."""
        return [
            _series(each, [each["value"]]) for each in ask(self.url, "query", query=expr, time=self.ended_s)["result"]
        ]

    def scraped(self, selector: str) -> list[Series]:
        """Each sample of a selector's series, as it was scraped in the last `window_s` of the time watched."""
        whole = ask(self.url, "query", query=f"{selector}[{self.window_s}s]", time=self.ended_s)["result"]
        return [_series(each, each["values"]) for each in whole]

    def label_values(self, label: str, selector: str) -> list[str]:
        """The values of a label in the series of `selector`, as Grafana asks for those of a variable."""
        asked = {"match[]": selector, "start": self.began_s, "end": self.ended_s}
        return list(ask(self.url, f"label/{label}/values", **asked))


def ask(url: str, question: str, **parameters: object) -> Any:
    """The data of one question to Prometheus' HTTP API; AssertionError with its words where it says no."""
    with urlopen(f"{url}/api/v1/{question}?{urlencode(parameters)}", timeout=10) as answer:
        document = json.load(answer)
    assert document["status"] == "success", document
    return document["data"]


def _series(found: dict[str, Any], samples: list[tuple[float, str]]) -> Series:
    numbers = [(float(at_s), float(value)) for at_s, value in samples]
    return Series(found["metric"], [(at_s, value) for at_s, value in numbers if math.isfinite(value)])


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """Run the grid through its bad seconds, and keep Prometheus until the block ends. `folder` is for its files."""
    with ExitStack() as stack:
        with running_cluster(topology=TOPOLOGY, env={"HOME": str(folder)}) as grid:
            url = stack.enter_context(prometheus(folder, grid))
            began_s = time.time()
            with load(grid), strangers(grid):
                break_it(grid, folder)
                ended_s = all_seen(url, began_s)
        yield Watched(url, began_s, ended_s)


@contextmanager
def prometheus(folder: Path, grid: Grid) -> Iterator[str]:
    """A Prometheus that scrapes the grid; its address, once it answers."""
    targets = grid.state_dir / grid.name / "prometheus" / "targets.json"
    port = free_port()
    file = configured(folder, targets, f"127.0.0.1:{port}")
    command = ["prometheus", f"--config.file={file}", f"--web.listen-address=127.0.0.1:{port}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", "--enable-feature=exemplar-storage", "--log.level=warn"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until_scraped(f"http://127.0.0.1:{port}", process, folder / "prometheus.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=20)


def configured(folder: Path, targets: Path, other: str) -> Path:
    """Write what a user's Prometheus is given, with its rules, only ten times as quick; the path of `prometheus.yml`.

    It watches `other` too, by a job and an alarm that are not ours.
    """
    setup = Setup(targets_file(str(targets)), scrape_interval_s=SCRAPE_S, poll_interval_s=SCRAPE_S)
    for name, content in files(setup):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    file = folder / "prometheus.yml"
    document = yaml.safe_load(file.read_text())
    groups = [{"targets": [other], "labels": {"cluster": name}} for name in (CLUSTER, THEIRS)]
    document["scrape_configs"].append({"job_name": THEIRS, "static_configs": groups})
    file.write_text(yaml.safe_dump(document))
    alarms = {"groups": [{"name": THEIRS, "rules": [THEIR_ALARM]}]}
    (folder / "rules" / "theirs.yml").write_text(yaml.safe_dump(alarms))
    return file


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as scout:
        scout.bind(("127.0.0.1", 0))
        return int(scout.getsockname()[1])


def until_scraped(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until every process of the grid was scraped."""
    expected, ours = len(SUBSTATIONS) + 2, f"sum(up{{{rules.JOBS}}})"
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        try:
            if [each["value"][1] for each in ask(url, "query", query=ours)["result"]] == [str(expected)]:
                return
        except (URLError, ConnectionError):
            pass
        time.sleep(SCRAPE_S / 5)
    raise AssertionError(f"Prometheus does not scrape all {expected}: {log.read_text()}")


@contextmanager
def load(grid: Grid) -> Iterator[None]:
    """More EVs than there are places, until the block ends."""
    command = [sys.executable, "-P", "-m", "gridctl", "loadtest", *LOAD]
    process = subprocess.Popen(
        command, env=dict(grid.environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def strangers(grid: Grid) -> Iterator[None]:
    """EVs that come to one substation by themselves, now and then, until the block ends: it has to turn some away."""
    url, over = grid.process("north")["url"], threading.Event()
    charge = json.dumps({"ev_id": "stranger", "duration_s": 5}).encode()

    def come() -> None:
        while not over.wait(SCRAPE_S / 2):
            with suppress(OSError), urlopen(Request(f"{url}/charge", charge, JSON), timeout=1):
                pass

    thread = threading.Thread(target=come)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def break_it(grid: Grid, folder: Path) -> None:
    """The storm, by `gridctl chaos`; exit 4 is its word for what the faults cost, and no concern of who watches."""
    file = folder / "storm.yaml"
    file.write_text(json.dumps(STORM))
    done = grid.run("chaos", str(file), "--rate", "0", "--duration", "11s")
    assert done.returncode in {0, 4}, done.stdout + done.stderr


def all_seen(url: str, began_s: float) -> float:
    """Wait until Prometheus saw all that the storm and the load should show; when that was."""
    end = time.monotonic() + PATIENCE_S
    missing = SEEN
    while missing and time.monotonic() < end:
        time.sleep(SCRAPE_S / 2)
        # some scrapes ago, so that a rate over the last few of them shows it too
        at_s = time.time() - 4 * SCRAPE_S
        window = f"{math.ceil(at_s - began_s)}s"
        missing = [each for each in missing if not _true(url, each.format(window=window), at_s)]
    assert not missing, f"never seen: {missing}"
    return time.time()


def _true(url: str, expr: str, at_s: float) -> bool:
    return bool(ask(url, "query", query=expr, time=at_s)["result"])
