"""What several end-to-end tests type and read: verbs in the background, the topology's file, states as all show them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gridctl.testing import VERB_TIMEOUT_S, Grid


@contextmanager
def typed(grid: Grid, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`gridctl ARGUMENTS…` in the background; it must have ended when the block ends, or it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "gridctl", *arguments],
        env=dict(grid.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Waits for a typed verb: its exit code, stdout and stderr."""
    out, err = process.communicate(timeout=VERB_TIMEOUT_S)
    return process.returncode, out, err


def declare(grid: Grid, topology: Mapping[str, Any]) -> str:
    """Rewrite the file that `grid` was started from; its path."""
    file = grid.state_dir.parent / "gridctl.yaml"
    file.write_text(json.dumps({"name": grid.name, **topology}))
    return str(file)


def states(grid: Grid) -> dict[str, str]:
    """Process → state, by `ps`."""
    return {row["name"]: row["state"] for row in grid.ps()}


def pids(grid: Grid) -> dict[str, int | None]:
    """Process → PID, by `ps`."""
    return {row["name"]: row["pid"] for row in grid.ps()}


def events(grid: Grid, name: str | None = None) -> list[dict[str, Any]]:
    """The changes of state so far, of one process or of all."""
    lines = (grid.state_dir / grid.name / "events.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return [event for event in found if event["event"] == "state" and name in {None, event["name"]}]


def path_of(grid: Grid, name: str) -> list[str]:
    """The states that a process went through, in order."""
    return [event["to"] for event in events(grid, name)]


def shown_alike(grid: Grid, name: str, state: str) -> bool:
    """Whether `ps`, `top` and the newest event agree on that state of a substation."""
    row = next((row for row in grid.top()["substations"] if row["name"] == name), None)
    seen = {states(grid).get(name), row["state"] if row else None, path_of(grid, name)[-1]}
    return seen == {state}


def believed(grid: Grid, name: str) -> dict[str, Any] | None:
    """What the balancer believes of a substation; None when it does not know it."""
    _, status = grid.request("GET", "/status", process="balancer")
    return next((row for row in status["substations"] if row["name"] == name), None)


def sessions(grid: Grid, name: str) -> int:
    """How many sessions charge at a substation now."""
    _, document = grid.request("GET", "/sessions", process=name)
    return len(document["sessions"])


def end_all(grid: Grid, *names: str) -> None:
    """End every session at these substations, as if their EVs had been unplugged."""
    for name in names:
        _, document = grid.request("GET", "/sessions", process=name)
        for session in document["sessions"]:
            assert grid.request("DELETE", f"/sessions/{session['request_id']}", process=name)[0] == 200


def placed(grid: Grid) -> int:
    """How many EVs the request service told that they are charging, since it started."""
    _, health = grid.request("GET", "/health", process="charge-request")
    return int(health["requests_total"].get("202", 0))
