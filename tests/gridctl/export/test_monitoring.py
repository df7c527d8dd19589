"""`monitoring export`: of a topology, of a cluster that runs, twice the same, and never over somebody else's file."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given

from config.names import EXTERNAL
from config.plan import processes
from config.topology import Topology
from gridctl.cli import run
from gridctl.export.monitoring import Watched, exported, wanted
from gridctl.state import ClusterPaths, state_root
from services.balancer.targets import from_file
from tests.config.test_plan import topologies
from tests.gridctl.fake_supervisor import Supervisor, process, snapshot, supervisor_at

EXTERNALS = """
name: city
balancer: {poll_interval_s: 20}
substations:
  - {name: north, port: 9007}
  - {name: other, url: "https://other.example:8443/grid/", load_metric: sessions, capacity_kw: 50, max_sessions: 4}
"""


SECRET = "s3cret" * 6


@pytest.fixture
def topology_file(tmp_path: Path) -> Path:
    file = tmp_path / "city.yaml"
    file.write_text(EXTERNALS)
    return file


def _export(folder: Path, *options: object) -> int:
    return run(["monitoring", "export", "-o", str(folder), *map(str, options)])


def _targets(folder: Path) -> dict[str, dict[str, Any]]:
    """Address → labels."""
    groups = json.loads((folder / "targets.json").read_text())
    return {address: group["labels"] for group in groups for address in group["targets"]}


def _discovered(folder: Path) -> str:
    (scraping,) = yaml.safe_load((folder / "prometheus.yml").read_text())["scrape_configs"]
    (found,) = scraping["file_sd_configs"]
    return str(found["files"][0])


def _credentials(folder: Path) -> dict[str, str | None]:
    """Each job's file with a token."""
    jobs = yaml.safe_load((folder / "prometheus.yml").read_text())["scrape_configs"]
    return {job["job_name"]: job.get("authorization", {}).get("credentials_file") for job in jobs}


@pytest.mark.needs("promtool", "amtool")
def test_what_a_topology_wants_is_taken_by_each_program_that_reads_it(topology_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert _export(folder, "-f", topology_file) == 0
    for command in (
        ["promtool", "check", "config", "--lint-fatal", str(folder / "prometheus.yml")],
        ["amtool", "check-config", str(folder / "alertmanager.yml")],
    ):
        checked = subprocess.run(command, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    assert _discovered(folder) == "targets.json"
    targets = _targets(folder)
    assert {address: labels["job"] for address, labels in targets.items()} == {
        "127.0.0.1:9007": "substation",
        "other.example:8443": "substation",
        "127.0.0.1:8081": "balancer",
        "127.0.0.1:8080": "charge-request",
    }
    assert {labels["cluster"] for labels in targets.values()} == {"city"}
    other = targets["other.example:8443"]
    assert (other["substation_id"], other["__scheme__"], other["__metrics_path__"]) == (
        "other",
        "https",
        "/grid/metrics",
    )
    assert "substation:balancer_report_age_seconds:max > 60" in (folder / "rules" / "alerts.yml").read_text()
    source = yaml.safe_load((folder / "grafana/provisioning/datasources/gridctl.yaml").read_text())["datasources"][0]
    assert source["url"] == "http://127.0.0.1:9090"
    provider = yaml.safe_load((folder / "grafana/provisioning/dashboards/gridctl.yaml").read_text())["providers"][0]
    assert (Path(provider["options"]["path"]) / "grid.json").exists()


@given(topologies())
def test_targets_are_those_of_the_plan_and_what_balancers_read(topology: Topology) -> None:
    document = wanted("city", topology)
    found = {address: group["labels"] for group in document for address in group["targets"]}
    specs = processes(topology)
    own = {f"127.0.0.1:{spec.metrics_port or spec.port}": spec for spec in specs if spec.role != EXTERNAL}
    assert {address: found[address]["job"] for address in own} == {address: spec.role for address, spec in own.items()}
    workers = {address: None if spec.worker is None else spec.name for address, spec in own.items()}
    assert {address: found[address].get("worker") for address in own} == workers
    assert len(found) == len(specs)
    assert all(isinstance(value, str) for labels in found.values() for value in labels.values())


def test_a_balancer_reads_the_same_file_with_all_that_it_needs(topology_file: Path, tmp_path: Path) -> None:
    assert _export(tmp_path / "out", "-f", topology_file) == 0
    north, other = from_file(tmp_path / "out" / "targets.json")
    assert (north.name, north.url, north.external) == ("north", "http://127.0.0.1:9007", False)
    assert (other.name, other.url, other.external) == ("other", "https://other.example:8443/grid", True)
    assert (other.load_metric, other.max_sessions, other.capacity_w) == ("sessions", 4, 50_000)


def test_twice_the_same_and_changed_where_the_topology_is(topology_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert _export(folder, "-f", topology_file) == 0
    assert _export(folder, "-f", topology_file, "--check") == 0
    topology_file.write_text(EXTERNALS.replace("9007", "9008"))
    assert _export(folder, "-f", topology_file, "--check") == 4
    (folder / "alertmanager.yml").write_text("mine")
    assert _export(folder, "-f", topology_file) == 1
    assert (folder / "alertmanager.yml").read_text() == "mine"
    assert _export(folder, "-f", topology_file, "--force") == 0
    assert _export(folder, "-f", topology_file, "--check") == 0


def test_a_token_is_named_and_never_written(topology_file: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(SECRET)
    assert _export(tmp_path / "out", "-f", topology_file, "--token-file", token) == 0
    assert _credentials(tmp_path / "out") == {"gridctl": str(token), "gridctl-external": None}
    assert not any(SECRET in path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file())


def test_the_environment_names_the_token_as_it_does_for_services(
    topology_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(SECRET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRIDCTL_TOKEN_FILE", "token")
    assert _export(tmp_path / "out", "-f", topology_file) == 0
    assert _credentials(tmp_path / "out")["gridctl"] == str(tmp_path / "token")


def test_a_token_that_is_in_no_file_is_an_error_that_says_what_to_do(
    topology_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Prometheus can be told a file, or the token itself, which would then stand in the export."""
    monkeypatch.setenv("GRIDCTL_TOKEN", SECRET)
    assert _export(tmp_path / "out", "-f", topology_file) == 2
    said = "".join(capfd.readouterr())
    assert "GRIDCTL_TOKEN is set, but Prometheus reads a token from a file only" in said
    assert "--token-file FILE, or GRIDCTL_TOKEN_FILE=FILE" in said
    assert SECRET not in said
    assert not (tmp_path / "out").exists()
    (tmp_path / "token").write_text(SECRET)
    assert _export(tmp_path / "out", "-f", topology_file, "--token-file", tmp_path / "token") == 0
    assert _credentials(tmp_path / "out")["gridctl"] == str(tmp_path / "token")
    assert not any(SECRET in path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file())


@pytest.mark.parametrize("by_flag", [True, False], ids=["flag", "environment"])
@pytest.mark.parametrize(
    "content", [None, "", "so secret", f"{SECRET}\n{SECRET}"], ids=["none", "empty", "short", "two"]
)
def test_a_file_without_a_usable_token_is_an_error_that_says_what_to_do_and_nothing_of_the_token(
    content: str | None,
    by_flag: bool,
    topology_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_text(content)
    if not by_flag:
        monkeypatch.setenv("GRIDCTL_TOKEN_FILE", str(token))
    assert _export(tmp_path / "out", "-f", topology_file, *(["--token-file", token] if by_flag else [])) == 2
    said = "".join(capfd.readouterr())
    assert str(token) in said
    assert "secrets.token_urlsafe" in said
    assert SECRET not in said
    assert "so secret" not in said
    assert not (tmp_path / "out").exists()


def test_an_environment_that_names_no_file_is_an_error(
    topology_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRIDCTL_TOKEN_FILE", "")
    assert _export(tmp_path / "out", "-f", topology_file) == 2


@pytest.fixture
def running() -> Iterator[tuple[ClusterPaths, Supervisor]]:
    """A supervisor that says it runs the grid `city`, on other ports than are wanted, with a Prometheus of its own."""
    paths = ClusterPaths(state_root(), "city")
    with supervisor_at(paths) as server:
        beside = process("prometheus", role="prometheus", url="http://127.0.0.1:9191")
        server.answers["GET /snapshot"] = 200, snapshot("city", beside)
        paths.record.write_text(json.dumps({"name": "city", "topology": {"monitoring": {"scrape_interval_s": 2}}}))
        paths.prometheus.mkdir(parents=True, exist_ok=True)
        labels = {"job": "substation", "cluster": "city", "substation_id": "substation1"}
        paths.targets.write_text(json.dumps([{"targets": ["127.0.0.1:45001"], "labels": labels}]))
        yield paths, server


def test_of_a_cluster_that_runs_the_file_that_follows_it_is_named(
    running: tuple[ClusterPaths, Supervisor], tmp_path: Path
) -> None:
    paths, _ = running
    folder = tmp_path / "out"
    assert _export(folder, "--name", "city") == 0
    assert _discovered(folder) == str(paths.targets)
    assert list(_targets(folder)) == ["127.0.0.1:45001"], "as it runs, not as it is wanted"
    assert "scrape_interval: 2s" in (folder / "prometheus.yml").read_text()
    source = yaml.safe_load((folder / "grafana/provisioning/datasources/gridctl.yaml").read_text())["datasources"][0]
    assert source["url"] == "http://127.0.0.1:9191"


def test_what_up_runs_is_sent_no_token_that_is_another_grids(
    running: tuple[ClusterPaths, Supervisor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(SECRET)
    for variable, value in (("_FILE", tmp_path / "token"), ("_FILE", tmp_path / "none"), ("", SECRET)):
        monkeypatch.delenv("GRIDCTL_TOKEN_FILE", raising=False)
        monkeypatch.setenv(f"GRIDCTL_TOKEN{variable}", str(value))
        assert _export(tmp_path / "out", "--name", running[0].name) == 0
        assert _credentials(tmp_path / "out") == {"gridctl": None}


def test_the_readme_says_where_targets_come_from() -> None:
    topology = Topology()
    watched = Watched("city", topology, wanted("city", topology))
    assert "lists what its topology wants" in str(dict(exported(watched, Path("/out")))["README.md"])
    live = Watched("city", topology, wanted("city", topology), live=Path("/state/targets.json"))
    assert "Only the user whose cluster it is" in str(dict(exported(live, Path("/out")))["README.md"])


@pytest.mark.parametrize(
    ("roles", "programs"),
    [
        ((), ["prometheus", "alertmanager", "grafana"]),
        (("prometheus",), ["grafana"]),
        (("prometheus", "grafana"), []),
    ],
)
def test_the_readme_names_what_runs_already_and_starts_nothing_twice(
    roles: tuple[str, ...], programs: list[str], running: tuple[ClusterPaths, Supervisor], tmp_path: Path
) -> None:
    urls = {role: f"http://127.0.0.1:{9191 + number}" for number, role in enumerate(roles)}
    beside = [process(role, role=role, url=url) for role, url in urls.items()]
    running[1].answers["GET /snapshot"] = 200, snapshot("city", *beside)
    assert _export(tmp_path / "out", "--name", "city") == 0
    told = (tmp_path / "out" / "README.md").read_text()
    commands = [line.strip() for line in told.splitlines() if line.startswith("    ")]
    assert [next(word for word in line.split() if word.isalpha()) for line in commands] == programs
    assert [url for url in urls.values() if f"runs beside the grid already: {url}\n" not in told] == []
    assert ("runs beside" in told) == bool(urls)
