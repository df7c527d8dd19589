"""Where flags, environment, file and default meet."""

from __future__ import annotations

from pathlib import Path

from gridctl.declaration import BUILT_IN
from gridctl.declared import declare

NOTHING = {"substations": None, "policy": None, "time_scale": None}


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gridctl.yaml"
    file.write_text("name: city\nsubstations: 2\nbalancer: {policy: random}\n")
    environ = {"GRIDCTL_STATE_DIR": str(tmp_path), "GRIDCTL_SUBSTATIONS": "5", "GRIDCTL_POLICY": "round-robin"}
    wanted = declare(None, None, {**NOTHING, "substations": 7}, environ, tmp_path)
    assert (len(wanted.topology.substations), wanted.topology.balancer.policy) == (7, "round-robin")
    assert (wanted.source, wanted.paths.name) == (str(file), "city")


def test_nothing_declared_is_the_built_in_default(tmp_path: Path) -> None:
    wanted = declare(None, None, NOTHING, {"GRIDCTL_STATE_DIR": str(tmp_path)}, tmp_path)
    assert (len(wanted.topology.substations), wanted.source, wanted.paths.name) == (3, BUILT_IN, "grid")
