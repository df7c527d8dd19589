"""The README does what it says: every command of its tour, in its order, as it stands there; and its Python examples."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from config.topology import Topology
from gridctl.testing import Grid
from tests.e2e.shell import Shell, blocks, commands

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()

pytestmark = pytest.mark.e2e


@pytest.fixture
def shell(environment: dict[str, str], tmp_path: Path) -> Iterator[Shell]:
    folder = tmp_path / "grid"
    folder.mkdir()
    shell = Shell(folder, environment, {})
    yield shell
    with suppress(subprocess.TimeoutExpired):
        shell.type("gridctl down")


def test_the_tour_has_the_main_verbs() -> None:
    typed = " ".join(commands(README))
    for verb in (
        "up -d",
        "curl",
        "top --once",
        "loadtest",
        "kill -s KILL",
        "ps",
        "scale",
        "logs",
        "restart --rolling",
        "down",
    ):
        assert verb in typed


@pytest.mark.needs("curl")
@pytest.mark.timeout(300)
def test_every_command_of_the_tour_works(shell: Shell) -> None:
    said = {}
    for command in commands(README):
        said[command.split(" --")[0]] = shell.check(command)
    assert "EV1234" in next(text for command, text in said.items() if command.startswith("curl"))
    assert "substation3" in said["gridctl top"]
    assert shell.type("gridctl ps").returncode == 3


@pytest.mark.parametrize("text", blocks(README, "yaml"))
def test_every_topology_is_valid(text: str) -> None:
    assert Topology.model_validate(yaml.safe_load(text)).substations


def test_the_first_python_example_passes(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "test_example.py").write_text(blocks(README, "python")[0])
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_fixture_has_what_the_readme_says() -> None:
    words = re.search(r"A `grid` has (.*?)\n\n", README, flags=re.DOTALL)
    assert words is not None
    for name in re.findall(r"`(\w+)", words[1]):
        assert name in {"grid", *dir(Grid)} | set(Grid.__dataclass_fields__)
