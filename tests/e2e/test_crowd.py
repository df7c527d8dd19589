"""A crowd of substations: with few files allowed, all up, seen, used and gone, and no journal before its time."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Cluster
from tests.e2e.test_lifecycle import gone

pytestmark = pytest.mark.e2e

CROWD = 60
#: Fewer than a supervisor of a crowd holds, as 1,024 are for one of a few hundred.
FEW_FILES = 200


@pytest.fixture
def few_files() -> Iterator[None]:
    """Whatever is started meanwhile may open few files, unless it asks for more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_FILES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_files")
def test_a_crowd_comes_up_is_seen_and_used_and_goes(cluster: Cluster) -> None:
    grid = cluster(CROWD)
    rows = grid.ps()
    assert {row["state"] for row in rows} == {"READY"}
    assert {row["restarts"] for row in rows} == {0}
    assert len(grid.top()["substations"]) == CROWD
    assert journals(grid.state_dir) == []
    for number in range(5):
        assert grid.charge(f"EV{number}", duration_s=3600)[0] == 202
    charging = [row["name"] for row in grid.top()["substations"] if row["sessions"]]
    assert 1 <= len(journals(grid.state_dir)) <= 5, "one for each that has a session, and none for the others"
    assert set(charging) <= set(journals(grid.state_dir))
    assert grid.run("down").returncode == 0
    grid.wait_until(gone)


def journals(state_dir: Path) -> list[str]:
    """The substations that have one."""
    return sorted(path.stem for path in state_dir.rglob("substation*.db"))
