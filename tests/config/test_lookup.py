"""Which file and which cluster are meant."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.lookup import cluster_name, find_topology_file
from config.names import is_name
from tests.config.faults import faults_of


def _touch(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_flag_before_variable_before_folder(tmp_path: Path) -> None:
    here = _touch(tmp_path / "gridctl.yaml")
    named = _touch(tmp_path / "a" / "named.yaml")
    flagged = _touch(tmp_path / "b" / "flagged.yaml")
    environ = {"GRIDCTL_FILE": "a/named.yaml"}
    assert find_topology_file(Path("b/flagged.yaml"), environ, tmp_path) == flagged
    assert find_topology_file(None, environ, tmp_path) == named
    assert find_topology_file(None, {}, tmp_path) == here
    assert find_topology_file(None, {"GRIDCTL_FILE": ""}, tmp_path) == here


def test_the_nearest_folder_wins_and_yaml_before_yml(tmp_path: Path) -> None:
    above = _touch(tmp_path / "gridctl.yaml")
    deep = tmp_path / "x" / "y"
    deep.mkdir(parents=True)
    assert find_topology_file(None, {}, deep) == above
    short = _touch(tmp_path / "x" / "gridctl.yml")
    assert find_topology_file(None, {}, deep) == short
    long = _touch(tmp_path / "x" / "gridctl.yaml")
    assert find_topology_file(None, {}, deep) == long


def test_a_folder_of_that_name_is_passed_over(tmp_path: Path) -> None:
    above = _touch(tmp_path / "gridctl.yaml")
    (tmp_path / "x" / "gridctl.yaml").mkdir(parents=True)
    assert find_topology_file(None, {}, tmp_path / "x") == above


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    (fault,) = faults_of(lambda: find_topology_file(Path("no.yaml"), {}, tmp_path))
    assert (fault.where, fault.found) == ("no.yaml", "no such file")
    (fault,) = faults_of(lambda: find_topology_file(None, {"GRIDCTL_FILE": "no.yaml"}, tmp_path))
    assert (fault.where, fault.found) == ("$GRIDCTL_FILE", "no.yaml: no such file")
    (fault,) = faults_of(lambda: find_topology_file(tmp_path, {}, tmp_path))
    assert fault.found == "a folder"
    (fault,) = faults_of(lambda: find_topology_file(Path("/dev/null"), {}, tmp_path))
    assert fault.found == "no regular file"
    assert faults_of(lambda: find_topology_file(Path("a\0b"), {}, tmp_path))
    assert faults_of(lambda: find_topology_file(Path("x" * 5000), {}, tmp_path))


def test_home_is_expanded(tmp_path: Path) -> None:
    home = _touch(Path.home() / "mine.yaml")
    assert find_topology_file(Path("~/mine.yaml"), {}, tmp_path) == home


def test_name_from_flag_variable_file_folder_default(tmp_path: Path) -> None:
    file = _touch(tmp_path / "my grid" / "gridctl.yaml", "name: city\n")
    unnamed = _touch(tmp_path / "my grid" / "other.yaml", "time_scale: 1\n")
    assert cluster_name("a", {"GRIDCTL_NAME": "b"}, file) == "a"
    assert cluster_name(None, {"GRIDCTL_NAME": "b"}, file) == "b"
    assert cluster_name(None, {"GRIDCTL_NAME": ""}, file) == "city"
    assert cluster_name(None, {}, unnamed) == "my-grid"
    assert cluster_name(None, {}, None) == "grid"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "- name: x",
        "name: [x]",
        "name: 12",
        "name: no",
        "name: ../up",
        "name: [",
        "\x07",
        "!!map [name]",
        "name: !!str {a: b}",
        "? [name]\n: x",
        "name:",
    ],
)
def test_a_bad_file_is_passed_over(tmp_path: Path, text: str) -> None:
    assert cluster_name(None, {}, _touch(tmp_path / "folder" / "gridctl.yaml", text)) == "folder"


def test_a_missing_or_binary_file_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "gridctl.yaml"
    assert cluster_name(None, {}, file) == "folder"
    file.parent.mkdir()
    file.write_bytes(b"\xff\xfe")
    assert cluster_name(None, {}, file) == "folder"


@given(st.text(min_size=1).filter(lambda text: not is_name(text)))
def test_illegal_names_are_refused(name: str) -> None:
    assert faults_of(lambda: cluster_name(name, {}, None))[0].where == "--name"
    assert faults_of(lambda: cluster_name(None, {"GRIDCTL_NAME": name}, None))[0].where == "$GRIDCTL_NAME"


@given(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), max_size=90))
def test_any_folder_makes_a_legal_name(folder: str) -> None:
    assert is_name(cluster_name(None, {}, Path("/nowhere") / folder / "gridctl.yaml"))


def test_nothing_heavy_is_imported() -> None:
    script = "import config.lookup, sys; print([m for m in ('pydantic', 'yaml', 'aiohttp') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"
