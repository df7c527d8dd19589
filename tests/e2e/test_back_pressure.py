"""More requests than may wait for a balancer that does not go on: a clear 503 for who comes too much, and nobody is lost."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from config.messages import MAX_BATCH
from gridctl.testing import Grid
from services.stream.caller import MOST_WAITING
from services.stream.link import MOST_UNANSWERED
from tests.e2e.conftest import Cluster, wait_for_state

pytestmark = pytest.mark.e2e

#: One array more than may wait and be unanswered.
ARRAYS = (MOST_WAITING + MOST_UNANSWERED) // MAX_BATCH + 1
SENT = ARRAYS * MAX_BATCH
#: However busy the machine is, all that may wait has time (wall seconds).
PATIENCE_S = 100.0
TOPOLOGY = {
    "durability": "process",
    "request_service": {"request_timeout_s": PATIENCE_S, "workers": 1},
    "defaults": {"max_sessions": SENT, "session_s": 100_000},
    "substations": 2,
}


def test_who_finds_the_queue_to_the_balancer_full_is_told_so_and_all_others_are_served(cluster: Cluster) -> None:
    grid = cluster(topology=TOPOLOGY)
    assert grid.charge("first")[0] == 202  # that way the stream is open
    assert grid.run("pause", "balancer").returncode == 0
    wait_for_state(grid, "balancer", "PAUSED")
    with ThreadPoolExecutor(ARRAYS) as pool:
        arrays = [pool.submit(ask, grid, number) for number in range(ARRAYS)]
        try:
            grid.wait_until(is_full, PATIENCE_S / 2)
        finally:
            assert grid.run("unpause", "balancer").returncode == 0
    told = list(chain.from_iterable(array.result() for array in arrays))

    assert Counter((each["status_code"], each.get("reason")) for each in told).keys() == {(202, None), (503, "busy")}
    assert len({each["request_id"] for each in told}) == len(told) == SENT
    busy = [each for each in told if each["status_code"] == 503]
    assert all("waiting for the balancer" in each["detail"] and each["retry_after_s"] > 0 for each in busy)
    assert SENT - len(busy) >= MOST_WAITING
    assert (
        grid.charge("probe", request_id="probe")[0] == 202
    )  # the same one, whether it waited with them or was turned away
    substations = [row["name"] for row in grid.ps() if row["role"] == "substation"]
    counted = [grid.request("GET", "/health", process=name)[1]["sessions"] for name in substations]
    assert sum(counted) == SENT - len(busy) + 2


def ask(grid: Grid, number: int) -> list[dict[str, Any]]:
    """The answers to one array of orders, which are all different."""
    status, answers = grid.request("POST", "/charge", [{"ev_id": f"EV-{number}-{each}"} for each in range(MAX_BATCH)])
    assert status == 200, answers
    return list(answers)


def is_full(grid: Grid) -> bool:
    """Whether one more is turned away; one that waits with the others is left alone."""
    body = json.dumps({"ev_id": "probe", "request_id": "probe"}).encode()
    try:
        urlopen(Request(f"{grid.url}/charge", body, {"Content-Type": "application/json"}), timeout=1).close()
    except HTTPError as error:
        with error:
            return bool(json.load(error)["reason"] == "busy")
    return False
