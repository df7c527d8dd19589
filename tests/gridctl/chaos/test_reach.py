"""Who sends the load hears where the cluster is after its supervisor was killed, also where it does not come up well."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from config.errors import NotRunning
from gridctl.chaos.census import Census, Person
from gridctl.chaos.guard import Guard
from gridctl.chaos.reach import ClusterReach
from gridctl.state import ClusterPaths


class Gone:
    """A census of a cluster that wrote nothing down; its supervisor answers, or not."""

    control = None

    def __init__(self, folder: Path, answers: bool) -> None:
        self.paths = ClusterPaths(folder, "grid")
        self._answers = answers

    def front(self) -> tuple[Person, ...]:
        return ()

    def look(self) -> dict[str, Any]:
        if not self._answers:
            raise NotRunning("nobody answers")
        return {}


class Heard:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def left(self) -> None:
        self.told.append("left")

    def back(self) -> None:
        self.told.append("back")

    def lost(self) -> None:
        self.told.append("lost")


@pytest.mark.parametrize(("answers", "last"), [(True, "back"), (False, "lost")])
async def test_a_cluster_that_did_not_come_up_well_is_lost_only_where_nobody_answers(
    tmp_path: Path, answers: bool, last: str
) -> None:
    client = Heard()
    reach = ClusterReach(cast(Census, Gone(tmp_path, answers)), cast(Guard, None), client)
    assert "does not say what ran" in await reach.revive(None)
    assert client.told == ["left", last]
    assert reach.owes_up
