"""What `monitoring export` writes, read by the programs that it is for: Prometheus through a scale, Alertmanager."""

from __future__ import annotations

import json
import queue
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from monitoring import alertmanager
from tests.e2e.conftest import Cluster
from tests.e2e.monitoring.watched import ask, free_port
from tests.strangers import Stranger, answering

pytestmark = pytest.mark.e2e

PATIENCE_S = 60.0


@contextmanager
def serving(command: list[str], url: str, log: Path) -> Iterator[str]:
    """A program that runs until the block ends; its address, once it says that it is ready."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        end = time.monotonic() + PATIENCE_S
        while not _ready(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def _ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError):
        return False


@pytest.mark.needs("prometheus")
def test_a_prometheus_that_reads_it_follows_each_scale_of_a_running_grid(cluster: Cluster, tmp_path: Path) -> None:
    grid = cluster(3, topology={"name": "city", "monitoring": {"scrape_interval_s": 0.5}})
    folder = tmp_path / "watching"
    done = grid.run("monitoring", "export", "-o", str(folder))
    assert done.returncode == 0, done.stderr
    port = free_port()
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"]
    with serving(command, f"http://127.0.0.1:{port}", tmp_path / "prometheus.log") as url:

        def up() -> list[str]:
            return [each["value"][1] for each in ask(url, "query", query="sum(up)")["result"]]

        for count in (3, 5):
            assert grid.run("scale", f"substations={count}").returncode == 0
            grid.wait_until(lambda _, count=count: up() == [str(count + 2)])  # type: ignore[misc]
        groups = ask(url, "rules")["groups"]
        assert {group["name"]: {rule["health"] for rule in group["rules"]} for group in groups} == {
            "gridctl-recording": {"ok"},
            "gridctl-alerts": {"ok"},
        }
    assert grid.run("monitoring", "export", "-o", str(folder), "--check").returncode == 4, "the grid was scaled"


@contextmanager
def listening() -> Iterator[tuple[int, queue.Queue[dict[str, Any]]]]:
    """A receiver of web hooks: its port, and what it was told."""
    told: queue.Queue[dict[str, Any]] = queue.Queue()

    class Hook(Stranger):
        def post(self, body: bytes) -> None:
            told.put(json.loads(body))
            self.answer()

    with answering(Hook) as port:
        yield port, told


@pytest.mark.needs("prometheus-alertmanager", "amtool")
def test_alertmanager_tells_of_a_substation_that_is_down_and_not_of_what_follows_from_that(tmp_path: Path) -> None:
    port = free_port()
    with listening() as (hook, told):
        file = tmp_path / "alertmanager.yml"
        file.write_text(alertmanager.EXAMPLE.replace("127.0.0.1:9095", f"127.0.0.1:{hook}"))
        command = ["prometheus-alertmanager", f"--config.file={file}", f"--storage.path={tmp_path / 'data'}"]
        command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
        with serving(command, f"http://127.0.0.1:{port}", tmp_path / "alertmanager.log") as url:
            where = ["cluster=city", "substation_id=north"]
            for name, severity in (("SubstationReportOld", "warning"), ("SubstationDown", "critical")):
                alert = ["amtool", f"--alertmanager.url={url}", "alert", "add", name, *where, f"severity={severity}"]
                subprocess.run(alert, check=True, capture_output=True, timeout=30)
            first = told.get(timeout=30)
            assert [each["labels"]["alertname"] for each in first["alerts"]] == ["SubstationDown"]
            assert first["receiver"] == "example"
            with urlopen(f"{url}/api/v2/alerts", timeout=10) as answer:
                states = {each["labels"]["alertname"]: each["status"]["state"] for each in json.load(answer)}
            assert states == {"SubstationDown": "active", "SubstationReportOld": "suppressed"}
