"""Whom a real Prometheus brings the token, and whether it finds its files in a folder with an odd name."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from config.names import PROMETHEUS
from config.plan import watchers
from config.topology import Topology
from gridctl.export.monitoring import Watched, exported, wanted
from gridctl.state import ClusterPaths
from gridctl.supervisor.watching import prepare
from monitoring.prometheus import Setup, files, targets_file
from tests.e2e.monitoring.test_exported import serving
from tests.e2e.monitoring.watched import ask, free_port
from tests.strangers import Stranger, answering

pytestmark = [pytest.mark.e2e, pytest.mark.needs("prometheus")]

TOKEN = "s3cret" * 6
#: All that Go's patterns make something of, and what of other folders they would match unescaped.
ODD, DECOYS = "grid [1] *?\\n", ("grid 1 aan", "grid [1] aa\\n", "grid 1 aa\\n")


@contextmanager
def recording(listed: Callable[[], object]) -> Iterator[tuple[int, list[tuple[str, str | None]]]]:
    """A service that answers any path, and `/targets` with what is `listed`: its port, who asked for what with what."""
    asked: list[tuple[str, str | None]] = []

    class Service(Stranger):
        def get(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            found = self.path == "/targets"
            body = (json.dumps(listed()) if found else "something 1\n").encode()
            self.answer(body=body, kind="application/json" if found else "text/plain; version=0.0.4")

    with answering(Service) as port:
        yield port, asked


def _group(port: int, name: str, **labels: str) -> dict[str, Any]:
    own = {"job": "substation", "cluster": "city", "substation_id": name, "__metrics_path__": f"/{name}/metrics"}
    return {"targets": [f"127.0.0.1:{port}"], "labels": {**own, **labels}}


def _until(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


def _up(url: str) -> dict[tuple[str, str], str]:
    """Job and substation → 1 or 0."""
    found = ask(url, "query", query="up")["result"]
    return {(each["metric"]["job"], each["metric"]["substation_id"]): each["value"][1] for each in found}


def _write(folder: Path, setup: Setup) -> None:
    for name, content in files(setup):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def test_only_own_services_are_brought_the_token(tmp_path: Path) -> None:
    listed: list[dict[str, Any]] = []
    with recording(lambda: listed) as (port, asked):
        listed += [_group(port, "found"), _group(port, "found-other", external="true", url="https://else.where")]
        grid = [_group(port, "own"), _group(port, "other", external="true", url="https://else.where")]
        (tmp_path / "targets.json").write_text(json.dumps(grid))
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        found = {"http_sd_configs": [{"url": f"http://127.0.0.1:{port}/targets"}]}
        _write(tmp_path, Setup({**targets_file("targets.json"), **found}, 0.2, token_file="token"))
        with _prometheus(tmp_path, tmp_path) as url:
            names = ("own", "other", "found", "found-other")
            assert _until(lambda: _up(url) == {("substation", name): "1" for name in names}), _up(url)
            labels = set(ask(url, "labels"))
    brought = {path: {header for asked_for, header in asked if asked_for == path} for path, _ in asked}
    assert {path: brought[path] for path in brought if path != "/targets"} == {
        "/own/metrics": {f"Bearer {TOKEN}"},
        "/found/metrics": {f"Bearer {TOKEN}"},
        "/other/metrics": {None},
        "/found-other/metrics": {None},
    }
    assert not labels & {"external", "url"}


@contextmanager
def _prometheus(folder: Path, data: Path) -> Iterator[str]:
    """A Prometheus that reads `folder`; its address."""
    port = free_port()
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={data / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    with serving(command, f"http://127.0.0.1:{port}", data / "prometheus.log") as url:
        yield url


def _exported(folder: Path, targets: list[dict[str, Any]], live: Path | None = None) -> Path:
    topology = Topology.model_validate({"monitoring": {"scrape_interval_s": 0.2}})
    for name, content in exported(Watched("city", topology, targets, live), folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(str(content))
    return folder


def _beside(state: Path, targets: list[dict[str, Any]]) -> Path:
    """What `up --prometheus` writes."""
    topology = Topology.model_validate({"monitoring": {"prometheus": True, "scrape_interval_s": 0.2}})
    paths = ClusterPaths(state, "city")
    spec = next(each for each in watchers(topology) if each.role == PROMETHEUS)
    prepare(spec, paths, free_port(), "", search=lambda _: "prometheus")
    paths.targets.write_text(json.dumps(targets))
    return paths.prometheus


@pytest.mark.parametrize("how", ["exported", "live", "beside"])
def test_it_finds_rules_and_targets_in_a_folder_with_an_odd_name_and_nothing_of_others(
    how: str, tmp_path: Path
) -> None:
    with recording(list) as (port, _):
        make = {"exported": _exported, "live": _live, "beside": _beside}[how]
        folder = make(tmp_path / ODD, [_group(port, "own")])
        for decoy in DECOYS:
            make(tmp_path / decoy, [_group(port, "decoy")])
        with _prometheus(folder, tmp_path) as url:
            assert _until(lambda: _up(url) == {("substation", "own"): "1"}), _up(url)
            assert [group["name"] for group in ask(url, "rules")["groups"]] == ["gridctl-alerts", "gridctl-recording"]
            file = folder.parent / "live.json" if how == "live" else folder / "targets.json"
            file.write_text(json.dumps([_group(port, "own"), _group(port, "new")]))
            assert _until(lambda: len(_up(url)) == 2), "a change is seen in time"


def _live(folder: Path, targets: list[dict[str, Any]]) -> Path:
    folder.mkdir()
    (folder / "live.json").write_text(json.dumps(targets))
    return _exported(folder / "out", wanted("city", Topology()), folder / "live.json")
