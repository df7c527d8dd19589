"""What watches a grid: whether it is here, what it is started with, the port that is lent to it, and who it is not."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from config.errors import GridError
from config.names import GRAFANA, PROMETHEUS
from config.plan import ProcessSpec, Watching, launched, watchers
from config.topology import Topology
from gridctl.chaos.census import Census
from gridctl.control import control_at
from gridctl.endpoints import endpoint_lines
from gridctl.programs import NAMES, find, installed
from gridctl.state import ClusterPaths
from gridctl.supervisor.happenings import State
from gridctl.supervisor.lifecycle import Life
from gridctl.supervisor.member import Member, ordered_for_stop
from gridctl.supervisor.snapshot import overall
from gridctl.supervisor.sockets import hold
from gridctl.supervisor.watching import prepare

BOTH = Topology.model_validate({"monitoring": {"grafana": True, "scrape_interval_s": 2}, "substations": 1})
PORT = 9099


def _spec(role: str) -> ProcessSpec:
    return next(spec for spec in watchers(BOTH) if spec.role == role)


def _programs(folder: Path, *names: str) -> dict[str, str]:
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return {"PATH": str(folder)}


def test_what_is_not_installed_is_left_out_and_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    specs = launched(BOTH, "t", "d")
    found, words = installed(specs, _programs(tmp_path, "prometheus"))
    assert [spec.name for spec in found] == ["substation1", "balancer", "charge-request", "prometheus"]
    assert [text.partition(" is not installed here")[0] for text in words] == ["grafana"]
    assert installed(specs, _programs(tmp_path, "prometheus", "grafana")) == ([*specs], [])


def test_grafana_goes_by_two_names(tmp_path: Path) -> None:
    assert find(GRAFANA, _programs(tmp_path, "grafana-server")) == str(tmp_path / "grafana-server")
    assert find(GRAFANA, _programs(tmp_path, "grafana")) == str(tmp_path / "grafana")


def test_prometheus_is_bounded_and_out_of_the_networks_reach(tmp_path: Path) -> None:
    paths = ClusterPaths(tmp_path, "city")
    command = prepare(_spec(PROMETHEUS), paths, PORT, "", lambda _: "/bin/prometheus")
    folder = tmp_path / "city" / "prometheus"
    assert command.argv[0] == "/bin/prometheus"
    assert {
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{PORT}",
        "--storage.tsdb.retention.time=15d",
        "--storage.tsdb.retention.size=1GB",
        "--enable-feature=exemplar-storage",
    } <= set(command.argv)
    assert not any("lifecycle" in word or "admin" in word for word in command.argv)
    config = (folder / "prometheus.yml").read_text()
    assert str(folder / "targets.json") in config
    assert "scrape_interval: 2s" in config
    assert sorted(path.name for path in folder.rglob("*.yml")) == ["alerts.yml", "prometheus.yml", "recording.yml"]


@pytest.mark.parametrize(("name", "first"), [("grafana", ("server",)), ("grafana-server", ())])
def test_grafana_finds_its_own_files_and_ours(tmp_path: Path, name: str, first: tuple[str, ...]) -> None:
    home = tmp_path / "grafana-11"
    (home / "conf").mkdir(parents=True)
    (home / "conf" / "defaults.ini").write_text("")
    program = home / "bin" / name
    program.parent.mkdir()
    program.write_text("")
    paths = ClusterPaths(tmp_path, "city")
    command = prepare(_spec(GRAFANA), paths, PORT, "http://127.0.0.1:9090", lambda _: str(program))
    assert command.argv == (str(program), *first, f"--homepath={home}")
    told = command.environment
    assert (told["GF_SERVER_HTTP_ADDR"], told["GF_SERVER_HTTP_PORT"]) == ("127.0.0.1", str(PORT))
    assert told["GF_AUTH_BASIC_ENABLED"] == "false", "nobody can log in with the usual password"
    assert told["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer", "nobody can save anything either"
    source = (Path(told["GF_PATHS_PROVISIONING"]) / "datasources" / "gridctl.yaml").read_text()
    assert "http://127.0.0.1:9090" in source
    assert "timeInterval: 2s" in source
    assert Path(told["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).exists()


def test_a_program_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(GridError, match="not installed here any more"):
        prepare(_spec(PROMETHEUS), ClusterPaths(tmp_path, "city"), PORT, "", lambda _: None)


def test_a_lent_port_is_the_programs_while_it_may_run_and_nobodys_else() -> None:
    held = hold("prometheus", "127.0.0.1", 0, fixed=False)
    held.lend()

    def listens(reuse: bool) -> int:
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
            try:
                other.bind(("127.0.0.1", held.port))
                other.listen()
            except OSError as error:
                return error.errno or 0
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", held.port))

    assert listens(reuse=True) == errno.EADDRINUSE, "it is not meant to run yet"
    held.listen(True)
    assert not held.listening
    assert listens(reuse=True) == 0
    assert listens(reuse=False) == errno.EADDRINUSE
    held.listen(False)
    assert listens(reuse=True) == errno.EADDRINUSE
    held.close()


def _member(role: str, state: State = State.READY) -> Member:
    life = Life()
    life.state = state
    watching = Watching() if role in NAMES else None
    return Member(ProcessSpec(role, role, "127.0.0.1", 0, False, None, watching=watching), life)


def test_it_goes_last_and_its_troubles_are_not_the_grids() -> None:
    members = [_member(role) for role in ("prometheus", "substation", "grafana", "charge-request", "balancer")]
    assert [[member.name for member in group] for group in ordered_for_stop(members)] == [
        ["charge-request"],
        ["balancer"],
        ["substation"],
        ["prometheus", "grafana"],
    ]
    assert overall([_member("substation"), _member("prometheus", State.FATAL)]) is State.READY
    assert overall([_member("substation", State.FATAL), _member("prometheus")]) is State.FATAL


def test_chaos_leaves_it_alone(tmp_path: Path) -> None:
    roles = ("charge-request", "balancer", "substation", "external", "prometheus", "grafana")
    census = Census(control_at(ClusterPaths(tmp_path, "grid")), ClusterPaths(tmp_path, "grid"))
    census.snapshot = {"processes": [{"name": role, "role": role, "state": "READY"} for role in roles]}
    assert [target.name for target in census.targets()] == [*roles[:3], "zygote", "supervisor"]


def test_where_to_look_is_said() -> None:
    rows = [{"name": role, "role": role, "url": "http://x:1"} for role in ("prometheus", "grafana")]
    assert endpoint_lines(rows) == ["  prometheus  http://x:1/graph", "  grafana     http://x:1/dashboards"]
