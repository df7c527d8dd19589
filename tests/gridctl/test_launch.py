"""How a supervisor's process begins: it imports ahead, does nothing before it is told to, and ends with who started it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from gridctl.entry import _ahead
from gridctl.unborn import Unborn
from tests.gridctl.terminal import gridctl


@pytest.fixture
def unborn(environment: Mapping[str, str]) -> Iterator[Unborn]:
    found = Unborn()
    yield found
    found.drop()


def test_one_that_is_not_needed_leaves_nothing(unborn: Unborn, environment: Mapping[str, str]) -> None:
    unborn.drop()
    unborn.drop()
    assert unborn.process.returncode is not None
    assert not Path(environment["GRIDCTL_STATE_DIR"]).exists()


def test_one_whose_starter_is_gone_ends_by_itself_and_leaves_nothing(environment: Mapping[str, str]) -> None:
    code = "import os; from gridctl.unborn import Unborn; print(Unborn().process.pid, flush=True); os._exit(0)"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    pid = int(done.stdout)
    with suppress(psutil.NoSuchProcess):  # it may be gone already
        psutil.Process(pid).wait(60)
    assert not psutil.pid_exists(pid)
    assert done.stderr == ""
    assert not Path(environment["GRIDCTL_STATE_DIR"]).exists()


@pytest.mark.parametrize("arguments", [["ps"], ["up", "--dry-run"], ["up", "-h"], []])
def test_no_other_verb_starts_one(arguments: list[str]) -> None:
    assert _ahead(arguments) is None


def test_a_topology_that_is_wrong_starts_nothing(environment: Mapping[str, str], tmp_path: Path) -> None:
    (wrong := tmp_path / "wrong.yaml").write_text("balancer: {policy: none}\n")
    done = gridctl("up", "-d", "-f", str(wrong), env=environment)
    assert done.returncode == 2
    assert "policy" in done.stderr
    assert not Path(environment["GRIDCTL_STATE_DIR"]).exists()


def test_what_is_declared_may_be_longer_than_a_pipe_takes_and_so_may_what_is_wrong_with_it(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    names = [f"{'long' * 10}{number}" for number in range(3000)]
    rows = "".join(f"  - {{name: {name}, prt: 1}}\n" for name in names)
    (wrong := tmp_path / "wrong.yaml").write_text(f"substations:\n{rows}")
    done = gridctl("up", "-d", "-f", str(wrong), env={**environment, "GRIDCTL_POLICY": "none"})
    assert done.returncode == 2
    assert done.stderr.count("an unknown key") == len(names)
    assert not Path(environment["GRIDCTL_STATE_DIR"]).exists()


def test_flags_and_variables_that_are_wrong_are_told_as_those_of_plan(environment: Mapping[str, str]) -> None:
    wrong = {**environment, "GRIDCTL_POLICY": "none"}
    told = gridctl("up", "-d", "--time-scale", "0", env=wrong)
    assert told.returncode == 2
    assert "$GRIDCTL_POLICY: balancer.policy" in told.stderr
    assert told.stderr == gridctl("plan", "--time-scale", "0", env=wrong).stderr
    assert not Path(environment["GRIDCTL_STATE_DIR"]).exists()


_IMPORTED = """
import contextlib, io, json, sys
from gridctl.cli import run
with contextlib.redirect_stdout(io.StringIO()):
    code = run(["up", "-d", "--substations", "0"])
print(json.dumps([code, sorted(sys.modules)]))
"""


def test_who_starts_a_grid_leaves_what_takes_long_to_import_to_its_supervisor(environment: Mapping[str, str]) -> None:
    plain = {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")}
    try:
        command = [sys.executable, "-P", "-c", _IMPORTED]
        done = subprocess.run(command, env=plain, capture_output=True, text=True, timeout=120, check=True)
    finally:
        gridctl("down", env=environment)
    code, found = json.loads(done.stdout)
    assert code == 0
    assert {"pydantic", "aiohttp", "asyncio", "gridctl.declared"} & set(found) == set()
