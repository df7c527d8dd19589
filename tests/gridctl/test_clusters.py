"""Which cluster is meant, and which are running."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from config.errors import Invalid
from gridctl.clusters import not_running, resolve, running, running_clusters
from gridctl.state import ClusterPaths
from tests.gridctl.fake_supervisor import supervisor_at


@contextmanager
def held(paths: ClusterPaths) -> Iterator[None]:
    paths.folder.mkdir(parents=True, exist_ok=True)
    paths.record.write_text("{}")
    with paths.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_resolve_prefers_flag_then_environment_then_file_then_default(tmp_path: Path) -> None:
    environ = {"GRIDCTL_STATE_DIR": str(tmp_path / "state")}
    assert resolve(None, None, environ, tmp_path).name == "grid"
    (tmp_path / "gridctl.yaml").write_text("name: city\n")
    assert resolve(None, None, environ, tmp_path).name == "city"
    assert resolve(None, None, environ | {"GRIDCTL_NAME": "env"}, tmp_path).name == "env"
    assert resolve("flag", None, environ | {"GRIDCTL_NAME": "env"}, tmp_path) == ClusterPaths(
        tmp_path / "state", "flag"
    )


def test_a_name_needs_no_readable_topology(tmp_path: Path) -> None:
    environ = {"GRIDCTL_STATE_DIR": str(tmp_path), "GRIDCTL_FILE": str(tmp_path / "missing.yaml")}
    assert resolve("city", None, environ, tmp_path).name == "city"
    with pytest.raises(Invalid, match="GRIDCTL_FILE"):
        resolve(None, None, environ, tmp_path)


def test_a_name_that_would_leave_the_state_folder(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="--name"):
        resolve("../other", None, {}, tmp_path)


def test_running_is_a_held_lock_or_an_answering_socket_never_a_record(tmp_path: Path) -> None:
    paths = ClusterPaths(tmp_path, "city")
    assert not running(paths)
    with supervisor_at(paths):
        assert running(paths)
    assert paths.record.exists()
    assert not running(paths)
    with held(paths):
        assert running(paths)
        assert [found.name for found in running_clusters(tmp_path)] == ["city"]
    assert not running(paths)


def test_asking_does_not_take_the_lock(tmp_path: Path) -> None:
    paths = ClusterPaths(tmp_path, "city")
    paths.folder.mkdir()
    paths.lock.touch()
    assert not running(paths)
    with paths.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("others", "hint"),
    [
        ([], "start one: gridctl up -d"),
        (["city"], "did you mean --name city?"),
        (["city", "town"], "running are city, town: choose one with --name"),
        ([f"c{number:02}" for number in range(10)], "c07 and 2 more"),
    ],
)
def test_the_hint_fits_what_else_runs(tmp_path: Path, others: list[str], hint: str) -> None:
    with ExitStack() as stack:
        for name in others:
            stack.enter_context(held(ClusterPaths(tmp_path, name)))
        error = not_running(ClusterPaths(tmp_path, "grid"))
    assert error.message == "no cluster 'grid' is running"
    assert hint in error.hint
