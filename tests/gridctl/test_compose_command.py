"""`gridctl compose export`, as a user types it."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

import pytest
import yaml

from gridctl.cli import run


def _export(*arguments: str | Path) -> int:
    return run(["compose", "export", *map(str, arguments)])


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_writes_the_default_grid_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with chdir(tmp_path):
        assert _export() == 0
        output = capsys.readouterr().out
        assert "openssl rand -hex 32 > gridctl-token" in output
        assert "gridctl-compose/README.md" in output
        files = {str(path.relative_to(tmp_path)) for path in Path(tmp_path, "gridctl-compose").rglob("*.*")}
        assert {"gridctl-compose/compose.yaml", "gridctl-compose/.env", "gridctl-compose/README.md"} <= files
        assert _export("--check") == 0
        assert capsys.readouterr().out == "gridctl-compose is current\n"
        assert _export("--check", "--substations", "4") == 4
        assert "compose.yaml (differs)" in capsys.readouterr().err


def test_two_exports_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert _export("-o", tmp_path / name, "--name", "grid") == 0
    first, second = (_contents(tmp_path / name) for name in ("a", "b"))
    assert first == second
    assert len(first) > 10


def test_replicas_are_exported_where_substations_are_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _export("-o", tmp_path, "--scalable", "--substations", "4") == 0
    services = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]
    assert services["substation"]["scale"] == 4
    topology = tmp_path / "gridctl.yaml"
    topology.write_text("substations: [{name: a}, {name: b, capacity_kw: 22}]")
    assert _export("-o", tmp_path / "out", "--scalable", "-f", topology) == 2
    assert "b.capacity_kw" in capsys.readouterr().err


def test_an_edited_file_stays_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _export("-o", tmp_path) == 0
    (tmp_path / "compose.yaml").write_text("mine")
    assert _export("-o", tmp_path, "--substations", "4") == 1
    assert "compose.yaml (edited since it was exported)" in capsys.readouterr().err
    assert (tmp_path / "compose.yaml").read_text() == "mine"
    assert _export("-o", tmp_path, "--substations", "4", "--force") == 0
    assert "substation4" in yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]


def test_the_topology_is_the_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    topology = tmp_path / "gridctl.yaml"
    text = "name: Town\nrequest_service: {port: 18080}\nsubstations: [{name: a, port: 9500}, {name: b, url: 'http://localhost:7601'}]"
    topology.write_text(text)
    assert _export("-f", topology, "-o", tmp_path / "out") == 0
    assert "b runs on this machine" in capsys.readouterr().err
    services = yaml.safe_load((tmp_path / "out/compose.yaml").read_text())["services"]
    assert services["a"]["environment"]["PORT"] == "9500"
    env = (tmp_path / "out/.env").read_text()
    assert "COMPOSE_PROJECT_NAME=town\n" in env
    assert "REQUEST_PORT=18080\n" in env
