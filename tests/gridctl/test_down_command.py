"""`gridctl down -v` on real state folders: journals are deleted only where somebody said so."""

from __future__ import annotations

import pytest

from gridctl.cli import run
from gridctl.state import ClusterPaths, state_root


@pytest.fixture
def stopped() -> ClusterPaths:
    """A cluster that went down and left a journal."""
    paths = ClusterPaths(state_root(), "grid")
    paths.data.mkdir(parents=True)
    (paths.data / "substation1.db").write_text("sessions")
    return paths


def test_without_a_terminal_it_must_be_said(stopped: ClusterPaths, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["down", "-v", "--name", "grid"]) == 2
    assert "gridctl down -v --yes" in capsys.readouterr().err
    assert stopped.data.exists()


def test_what_is_down_already_loses_its_journals_and_nothing_else(
    stopped: ClusterPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped.logs.mkdir()
    assert run(["down", "--volumes", "--yes", "--name", "grid"]) == 0
    assert capsys.readouterr().out == "grid: journals deleted\n"
    assert [path.name for path in stopped.folder.iterdir()] == ["logs"]
    assert run(["down", "-v", "-y", "--name", "grid"]) == 0
    assert capsys.readouterr().out == "grid has no journals\n"


def test_what_watched_it_loses_its_data_too_and_keeps_what_it_is_told(
    stopped: ClusterPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (stopped.prometheus, stopped.grafana):
        (folder / "data" / "wal").mkdir(parents=True)
    (stopped.prometheus / "prometheus.yml").write_text("")
    assert run(["down", "-v", "-y", "--name", "grid"]) == 0
    assert capsys.readouterr().out == "grid: journals, Prometheus' data, Grafana's data deleted\n"
    assert [path.name for path in stopped.prometheus.iterdir()] == ["prometheus.yml"]


def test_without_it_a_grid_must_run_and_journals_stay(stopped: ClusterPaths) -> None:
    assert run(["down", "--name", "grid"]) == 3
    assert stopped.data.exists()
