"""How a supervisor's process begins: it imports ahead, does nothing before it is told to, and ends with who started it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gridctl.launch import Unborn, begin
from gridctl.state import ClusterPaths
from tests.gridctl.terminal import gridctl


@pytest.fixture
def unborn(tmp_path: Path) -> Iterator[Unborn]:
    found = begin(ClusterPaths(tmp_path / "state", "grid"))
    yield found
    if found.process.returncode is None:
        found.drop()


def test_one_that_is_not_needed_leaves_nothing(unborn: Unborn) -> None:
    unborn.drop()
    assert unborn.process.returncode is not None
    assert not unborn.paths.root.exists()


def test_one_whose_starter_is_gone_ends_by_itself_and_leaves_nothing(unborn: Unborn) -> None:
    os.close(unborn.leash)
    assert unborn.process.wait(60) == 0
    assert os.read(unborn.ready, 1) == b""
    os.close(unborn.ready)
    assert not unborn.paths.root.exists()


def test_a_topology_that_is_wrong_starts_nothing(environment: Mapping[str, str], tmp_path: Path) -> None:
    (wrong := tmp_path / "wrong.yaml").write_text("balancer: {policy: none}\n")
    done = gridctl("up", "-d", "-f", str(wrong), env=environment)
    assert done.returncode == 2
    assert "policy" in done.stderr
    assert not Path(environment["GRIDCTL_STATE_DIR"]).exists()
