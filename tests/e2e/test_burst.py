"""Bursts onto three substations of ten: as many are placed as there is room, and nobody is ever over."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from gridctl.testing import Grid
from tests.e2e.conftest import Cluster

pytestmark = pytest.mark.e2e

GAUGE = "substation_current_load "


@contextmanager
def watching(grid: Grid) -> Iterator[list[float]]:
    """Reads the gauge of every substation again and again, beside the block; all that was seen."""
    urls = [f"{row['url']}/metrics" for row in grid.ps() if row["role"] == "substation"]
    seen: list[float] = []
    first, stop = threading.Event(), threading.Event()

    def watch() -> None:
        ending = False
        while not ending:
            ending = stop.is_set()  # what is there in the end is seen, too
            seen.extend(gauge(url) for url in urls)
            first.set()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        assert first.wait(60)
        yield seen
    finally:
        stop.set()
        thread.join()


def gauge(url: str) -> float:
    """The number of sessions that a substation says it has."""
    with urlopen(url, timeout=60) as answer:
        lines: list[str] = answer.read().decode().splitlines()
    return next(float(line.removeprefix(GAUGE)) for line in lines if line.startswith(GAUGE))


@pytest.mark.parametrize(("size", "placed"), [(10, 10), (30, 30), (50, 30)])
def test_a_burst_fills_what_there_is_and_no_more(cluster: Cluster, size: int, placed: int) -> None:
    grid = cluster(substations=3)
    with watching(grid) as seen:
        done = grid.run("loadtest", "--burst", str(size), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["sent"], result["accepted"], result["refused"]) == (size, placed, size - placed)
    assert result["failed"] == 0, result["failures"]
    counts = sorted(entry["accepted"] for entry in result["per_substation"].values())
    assert counts == ([10, 10, 10] if placed == 30 else [3, 3, 4])
    assert result["overloads"] == 0
    assert max(seen) == counts[-1]
    assert result["peak_load_pct"] == 10 * counts[-1]


def test_two_workers_send_one_burst(cluster: Cluster) -> None:
    """To two workers of the request service: one audited result, of all that was sent."""
    grid = cluster(topology={"request_service": {"workers": 2}, "substations": 3})
    done = grid.run("loadtest", "--burst", "40", "--workers", "2", "--audit", "--json", "--fail-if", "failed > 0")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["sent"], result["accepted"], result["refused"], result["workers"]) == (40, 30, 10, 2)
    assert (result["overloads"], result["avoidable_rejections"], result["audit"]["ok"]) == (0, 0, True)


def test_who_is_refused_is_told_when_to_come_again(cluster: Cluster) -> None:
    grid = cluster(substations=3)
    done = grid.run("loadtest", "--burst", "50", "-v")
    assert done.returncode == 0, done.stderr
    refused = [line for line in done.stdout.splitlines() if line.startswith("[SENT]") and "-> 503: " in line]
    assert len(refused) == 20
    assert all("'retry_after_s': " in line for line in refused)
    one_more = Request(f"{grid.url}/charge", b'{"ev_id": "late"}', {"Content-Type": "application/json"})
    with pytest.raises(HTTPError) as caught:
        urlopen(one_more, timeout=60)
    answer = json.load(caught.value)
    assert (caught.value.code, answer["reason"]) == (503, "grid-full")
    assert 0 < answer["retry_after_s"] <= int(caught.value.headers["Retry-After"]) <= 30
    caught.value.close()
