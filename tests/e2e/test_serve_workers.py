"""`gridctl serve charge-request --workers N`: several processes, one port, as in a container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import psutil
import pytest

from gridctl.serve.crew import CRASHES
from tests.e2e.served import Served, served, until

pytestmark = pytest.mark.e2e

NAMES = ("charge-request", "charge-request2")
FLAGS = ("--workers", "2", "--balancers", "127.0.0.1:9", "--request-timeout-s", "0.3")


def workers(it: Served) -> list[psutil.Process]:
    """Their processes."""
    return sorted(psutil.Process(it.process.pid).children(), key=lambda each: each.pid)


def health(it: Served) -> dict[str, Any]:
    """What any of them says."""
    return dict(it.ask("GET", "/health")[2])


def answered(it: Served) -> float:
    """How many requests all of them answered."""
    lines = it.ask("GET", "/metrics")[2].splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("charge_requests_total{"))


def test_all_answer_and_tell_of_all_and_one_that_dies_comes_back(environment: dict[str, str]) -> None:
    with served(environment, *FLAGS, role="charge-request") as it:
        until(lambda: health(it).get("workers") == dict.fromkeys(NAMES, "ok"))
        assert [it.charge()[0] for _ in range(10)] == [503] * 10
        assert answered(it) == 10
        first, second = workers(it)
        os.kill(second.pid, signal.SIGKILL)
        assert answered(it) == 10
        until(lambda: len(workers(it)) == 2 and second not in workers(it))
        until(lambda: health(it).get("workers") == dict.fromkeys(NAMES, "ok"))
        assert it.charge()[0] == 503
        assert (answered(it), first in workers(it)) == (11, True)
        code, log = it.end()
    assert code == 0, log
    assert "worker 2 ended (killed by signal 9); it is started anew" in log


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_ends_when_all_have(environment: dict[str, str], number: signal.Signals, code: int) -> None:
    with served(environment, *FLAGS, role="charge-request") as it:
        until(lambda: len(health(it).get("workers", ())) == 2)
        alive = workers(it)
        found, log = it.end(number)
    assert found == code, log
    assert not any(each.is_running() for each in alive)
    assert log.count('"stopped"') == 2, log


def test_none_outlives_the_one_that_started_them(environment: dict[str, str]) -> None:
    with served(environment, *FLAGS, role="charge-request") as it:
        until(lambda: len(health(it).get("workers", ())) == 2)
        alive = workers(it)
        it.process.kill()
        _, left = psutil.wait_procs(alive, 10)
        assert not left


def test_workers_that_cannot_run_end_it(environment: dict[str, str]) -> None:
    program = "from gridctl.serve.crew import Crew; raise SystemExit(Crew(2, lambda *_: 3).run('charge-request'))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("worker 2 ended (exit code 3)") == CRASHES
