"""`gridctl compose export`, carried out by a real Docker Engine: a grid of named substations, and what crashes cost it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from config.shipped import shipped_names, shipped_text
from tests.e2e.containers.engine import Project, gridctl, project, run, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

#: Sessions outlast the test: so each that was ever promised must still charge at the end, once.
TOPOLOGY = {
    "name": "town",
    "balancer": {"poll_interval_s": 1},
    "defaults": {"session_s": 100_000},
    "substations": [
        {"name": "substation1", "max_sessions": 400},
        {"name": "Harbour.Fast", "max_sessions": 300, "capacity_kw": 4000, "power_kw": 11},
        {"name": "depot", "max_sessions": 200, "port": 9100},
    ],
}
PORTS = {"substation1": 9001, "harbour-fast": 9002, "depot": 9100}
#: No registry has an image of Grafana for this machine.
STARTED = ("charge-request", "prometheus")


@pytest.fixture
def grid(images: dict[str, str], tmp_path: Path) -> Iterator[Project]:
    topology = tmp_path / "gridctl.yaml"
    topology.write_text(yaml.safe_dump(TOPOLOGY))
    gridctl("compose", "export", "-f", topology, "-o", tmp_path / "out")
    with project(tmp_path / "out", "named") as made:
        yield made


def charging(grid: Project) -> list[str]:
    """The request of every session that charges now, by the substations' own word."""
    found: list[str] = []
    for service, port in PORTS.items():
        sessions = grid.ask(grid.one(service), port, "/sessions")["sessions"]
        found += [each["request_id"] for each in sessions if each["state"] == "charging"]
    return found


def test_a_grid_of_named_substations(grid: Project) -> None:
    grid.up(*STARTED)
    assert {each.service for each in grid.containers()} == {*PORTS, "balancer", *STARTED}

    check_confinement(grid)

    first = grid.loadtest("--rate", "20", "--duration", "3", "--seed", "1")
    assert (first["accepted"], first["refused"], first["failed"]) == (60, 0, 0)
    assert len(charging(grid)) == 60

    check_prometheus(grid)
    accepted = 60 + crash_under_load(grid)

    requests = charging(grid)
    assert len(set(requests)) == len(requests) == accepted
    assert {each.service: each.restarts for each in grid.containers() if each.restarts} == {"depot": 1, "balancer": 1}

    ours = [each.id for each in grid.containers() if each.service != "prometheus"]
    grid.compose("stop")
    assert run("docker", "inspect", "--format", "{{.State.ExitCode}}", *ours).split() == ["0"] * len(ours)
    grid.compose("down")
    assert grid.containers() == []
    grid.up(*PORTS)
    assert sorted(charging(grid)) == sorted(requests)


@pytest.mark.parametrize("name", shipped_names())
def test_docker_compose_reads_every_ready_topology(engine: None, tmp_path: Path, name: str) -> None:
    (tmp_path / "gridctl.yaml").write_text(shipped_text(name))
    gridctl("compose", "export", "-f", tmp_path / "gridctl.yaml", "-o", tmp_path / "out")
    (tmp_path / "out/gridctl-token").write_text("x")
    told = yaml.safe_load(run("docker-compose", "-f", tmp_path / "out/compose.yaml", "config"))
    written = yaml.safe_load((tmp_path / "out/compose.yaml").read_text())
    assert told["services"].keys() == written["services"].keys()


def check_confinement(grid: Project) -> None:
    """What compose.yaml says a container may do and take, the engine enforces."""
    for each in grid.containers():
        (about,) = json.loads(run("docker", "inspect", each.id))
        host = about["HostConfig"]
        assert (host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"]) == (
            True,
            ["ALL"],
            ["no-new-privileges:true"],
        )
        assert host["NanoCpus"] == 10**9
        assert host["Memory"] >= 256 * 2**20
        assert host["PidsLimit"] >= 64
        published = [port["HostIp"] for ports in host["PortBindings"].values() for port in ports]
        assert published == (["127.0.0.1"] if each.service in STARTED else [])


def check_prometheus(grid: Project) -> None:
    """Every target is up, by its name in the grid, and the load is what the substations hold."""
    targets = {"job=balancer", "job=charge-request"} | {
        f"job=substation,substation_id={name}" for name in ("substation1", "Harbour.Fast", "depot")
    }
    query = "sum by (job, substation_id) (up{cluster='town'})"
    until(lambda: grid.prometheus(query) == dict.fromkeys(targets, 1.0), "every target up")
    load = "sum(substation_current_load{cluster='town'})"
    until(lambda: grid.prometheus(load) == {"": 60.0}, "the load of the grid in Prometheus")
    loading = grid.prometheus("grid_loading_percentage{cluster='town'}")
    assert [0 < value < 100 for value in loading.values()] == [True]


def crash_under_load(grid: Project) -> int:
    """How many EVs were told to charge while a substation and the balancer were killed; none may fail."""
    command = [sys.executable, "-P", "-m", "gridctl", "loadtest", "--target", grid.url, "--json"]
    environ = {**os.environ, **grid.client}
    with subprocess.Popen(
        [*command, "--rate", "20", "--duration", "8", "--seed", "2"], env=environ, stdout=subprocess.PIPE, text=True
    ) as load:
        until(lambda: len(charging(grid)) > 80, "load")
        for service in ("depot", "balancer"):
            grid.one(service).kill_from_outside()
            until(lambda service=service: _is_back(grid, service), f"{service} back")  # type: ignore[misc]
        out, _ = load.communicate(timeout=60)
    result = json.loads(out)
    assert (result["refused"], result["failed"], result["accepted"]) == (0, 0, 160)
    return int(result["accepted"])


def _is_back(grid: Project, service: str) -> bool:
    return [each.restarts for each in grid.containers(service) if each.health == "healthy"] == [1]


def test_an_image_holds_nothing_to_build_with_and_is_small(images: dict[str, str], tmp_path: Path) -> None:
    for role, image in images.items():
        (about,) = json.loads(run("docker", "image", "inspect", image))
        assert about["Config"]["User"] == "10001:10001"
        assert about["Config"]["Cmd"] == ["serve", role]
        assert about["Config"]["Healthcheck"]["Test"][0] == "CMD"
        assert about["Size"] < 130_000_000, f"{role}: {about['Size'] / 1e6:.0f} MB"
    container = run("docker", "create", image).strip()
    try:
        run("docker", "export", "-o", tmp_path / "image.tar", container)
    finally:
        run("docker", "rm", container)
    with tarfile.open(tmp_path / "image.tar") as files:
        names = {Path(name).name for name in files.getnames()}
    assert {"gridctl", "python3", "probe.py", "libc.so.6"} <= names
    assert not names & {
        "pip",
        "setuptools",
        "wheel",
        "sh",
        "bash",
        "dash",
        "apt",
        "dpkg",
        "gcc",
        "ld",
        "ldconfig",
        "su",
    }
