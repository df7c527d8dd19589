"""What a crowd's changes cost: one file each, written once for all that come within a moment."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from config.plan import ProcessSpec
from gridctl.state import ClusterPaths
from gridctl.supervisor.lifecycle import Watched
from gridctl.supervisor.member import Member
from gridctl.supervisor.papers import FEW, Papers


def papers(tmp_path: Path, number: int) -> Papers:
    paths = ClusterPaths(tmp_path, "grid")
    paths.folder.mkdir()
    specs = [
        ProcessSpec(f"s{k}", "external", "127.0.0.1", 0, False, None, f"http://127.0.0.1:{k}") for k in range(number)
    ]
    return Papers(paths, {spec.name: Member(spec, Watched()) for spec in specs})


def names(paths: ClusterPaths) -> list[str]:
    return [group["labels"]["substation_id"] for group in json.loads(paths.targets.read_text())]


async def test_few_are_written_at_once(tmp_path: Path) -> None:
    few = papers(tmp_path, FEW)
    few.targets()
    assert len(names(few.paths)) == FEW


async def test_a_crowd_is_written_soon_and_as_it_is_then(tmp_path: Path) -> None:
    crowd = papers(tmp_path, FEW + 2)
    crowd.targets()
    assert not crowd.paths.targets.exists()
    del crowd.members["s0"]  # type: ignore[attr-defined]  # the cluster may
    crowd.targets()
    for due in list(crowd._due.values()):
        await asyncio.sleep(due.when() - asyncio.get_running_loop().time())  # sleep: until its timer, and a turn more
    await asyncio.sleep(0)
    assert names(crowd.paths)[0] == "s1"
    crowd.targets()
    crowd.close()
    assert not crowd._due
