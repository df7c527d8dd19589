"""A substation that drained and comes back is asked at once, however seldom it is polled."""

from __future__ import annotations

import json
from pathlib import Path

from tests.services.grid import Grid, a_grid, until


def write_targets(path: Path, grid: Grid, draining: bool) -> None:
    """The targets file with substation1."""
    labels = {"job": "substation", "substation_id": "substation1", **({"draining": "true"} if draining else {})}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps([{"targets": [grid.urls["substation1"].removeprefix("http://")], "labels": labels}]))
    fresh.replace(path)


async def test_one_that_drains_no_more_is_polled_before_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "targets.json"
    async with a_grid() as grid:
        station = await grid.substation("substation1")
        write_targets(path, grid, draining=False)
        balancer = await grid.balancer(targets_file=str(path), poll_interval_s=60.0)
        account = next(iter(balancer.ledger))
        station.command({"do": "drain"})
        write_targets(path, grid, draining=True)
        assert (await grid.route()).status == 503
        await until(lambda: account.target.draining)
        station.command({"do": "undrain"})
        write_targets(path, grid, draining=False)
        await until(lambda: account.state == "fresh")
        assert (await grid.route()).status == 202
