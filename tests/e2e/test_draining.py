"""Substations on one folder, real processes: SIGTERM drains, kill -9 costs nothing, others take up what was left."""

from __future__ import annotations

import json
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from config.report import HEADER, Report
from tests.e2e.served import Served, served, until

pytestmark = pytest.mark.e2e


def _status(it: Served) -> Any:
    return it.ask("GET", "/health")[2]["status"]


def _logged(log: str, message: str) -> dict[str, Any]:
    """The one line that says `message`."""
    (found,) = [line for line in map(json.loads, log.splitlines()) if line["message"] == message]
    return dict(found)


def test_it_takes_nothing_new_and_ends_with_its_last_session(environment: dict[str, str]) -> None:
    with served(environment, "--drain-s", "60") as it:
        assert it.charge("EV1", request_id="r1", duration_s=1.5)[0] == 202
        assert it.charge("EV2", request_id="r2", duration_s=300)[0] == 202
        it.process.send_signal(signal.SIGTERM)
        until(lambda: _status(it) == "draining")
        code, headers, problem = it.charge("EV3")
        assert (code, problem["reason"]) == (503, "draining")
        assert Report.decode(headers[HEADER]).draining
        assert it.charge("EV1", request_id="r1")[0] == 202, "who asks again gets the same answer"
        assert it.ask("GET", "/metrics")[0] == 200
        until(lambda: it.ask("GET", "/sessions/r1")[2]["state"] == "ended")
        assert it.process.poll() is None, "one charges on"
        assert it.ask("DELETE", "/sessions/r2")[2]["state"] == "cancelled"
        _, log = it.process.communicate(timeout=60)
        assert it.process.returncode == 0
        assert _logged(log, "drained")["charging"] == 0


def test_what_still_charges_after_that_is_adopted_by_the_next(environment: dict[str, str], tmp_path: Path) -> None:
    shared = ("--journal-dir", str(tmp_path), "--name", "substation")
    with served(environment, *shared, "--drain-s", "0.3") as it:
        assert it.charge("EV1", request_id="r1", duration_s=300)[0] == 202
        began_s = time.monotonic()
        code, log = it.end()
        assert code == 0
        assert 0.3 <= time.monotonic() - began_s < 10
        assert _logged(log, "drained")["charging"] == 1
    with served(environment, *shared) as it:
        assert it.ask("GET", "/health")[2]["name"] == "substation-1"
        assert it.ask("GET", "/sessions/r1")[2]["state"] == "charging"


def test_a_second_signal_ends_the_drain(environment: dict[str, str]) -> None:
    with served(environment, "--drain-s", "600") as it:
        assert it.charge("EV1", duration_s=300)[0] == 202
        it.process.send_signal(signal.SIGTERM)
        until(lambda: _status(it) == "draining")
        assert it.end()[0] == 0


@pytest.mark.parametrize("flags", [[], ["--drain-s", "0"]])
def test_unless_told_so_it_does_not_wait_for_sessions(environment: dict[str, str], flags: list[str]) -> None:
    with served(environment, *flags) as it:
        assert it.charge("EV1", duration_s=300)[0] == 202
        code, log = it.end()
        assert code == 0
        assert "drained" not in log


def test_killed_replicas_of_one_folder_find_their_sessions_and_names(
    environment: dict[str, str], tmp_path: Path
) -> None:
    shared = ("--journal-dir", str(tmp_path), "--name", "substation")
    with ExitStack() as stack:
        replicas = [stack.enter_context(served(environment, *shared)) for _ in range(3)]
        names = [it.ask("GET", "/health")[2]["name"] for it in replicas]
        assert sorted(names) == ["substation-1", "substation-2", "substation-3"]
        for it, name in zip(replicas, names, strict=True):
            assert it.charge(f"EV-{name}", request_id=f"r-{name}", duration_s=300)[2]["routed_to"] == name
        for it in replicas[:2]:
            it.process.kill()
            it.process.wait()
        again = [stack.enter_context(served(environment, *shared)) for _ in range(2)]
        found = [it.ask("GET", "/health")[2]["name"] for it in again]
        assert sorted(found) == sorted(names[:2])
        for it, name in zip(again, found, strict=True):
            assert it.ask("GET", f"/sessions/r-{name}")[2]["state"] == "charging"
