"""The targets file when it is late, broken, or gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.services.grid import a_grid, until


async def test_a_file_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    async with a_grid() as grid:
        url = (await grid.serve_substation("substation1")).removeprefix("http://")
        path = tmp_path / "targets.json"
        balancer = await grid.balancer(targets_file=str(path), ready=False)
        assert balancer.health().status == "starting"
        labels = {"job": "substation", "substation_id": "substation1"}
        path.write_text(json.dumps([{"targets": [url], "labels": labels}]))
        assert (await grid.route()).status == 202, "it waits until the balancer is ready"


async def test_a_broken_file_changes_nothing_and_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with a_grid() as grid:
        url = (await grid.serve_substation("substation1")).removeprefix("http://")
        path = tmp_path / "targets.json"
        labels = {"job": "substation", "substation_id": "substation1"}
        path.write_text(json.dumps([{"targets": [url], "labels": labels}]))
        balancer = await grid.balancer(targets_file=str(path))
        path.write_text("[{")
        await until(lambda: "not usable" in caplog.text)
        path.unlink()
        assert (await grid.route()).status == 202
        assert len(balancer.ledger) == 1
        path.write_text("[]")
        await until(lambda: len(balancer.ledger) == 0)
        assert caplog.text.count("not usable") == 1
