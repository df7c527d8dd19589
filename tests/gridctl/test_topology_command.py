"""`gridctl topology init|check|show|schema`, through the group as a user types it."""

import json
from contextlib import chdir
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from config.errors import GridError, Invalid
from config.loading import parse_topology
from config.schema import topology_schema
from config.shipped import shipped_names, shipped_text
from config.topology import Topology
from gridctl.commands.topology import check_topology, command, show_topology, write_topology


def _run(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments], env=env)


def _file(folder: Path, text: str, name: str = "gridctl.yaml") -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(text)
    return file


def test_help_names_every_verb_and_where_a_topology_comes_from() -> None:
    result = _run("--help")
    assert result.exit_code == 0
    for word in ("init", "check", "show", "schema", "GRIDCTL_FILE", "gridctl.yaml"):
        assert word in result.output


def test_init_writes_a_commented_topology_that_checks(tmp_path: Path) -> None:
    file = tmp_path / "gridctl.yaml"
    result = _run("init", file)
    assert result.exit_code == 0
    assert result.output == f"wrote {file}; next: gridctl topology check {file}\n"
    assert file.read_text() == shipped_text("default")
    checked = _run("check", file)
    assert checked.output.startswith(f"{file}: ok: 3 substations, 30 sessions, no kW limit, policy ")


def test_init_without_a_file_writes_gridctl_yaml_here(tmp_path: Path) -> None:
    with chdir(tmp_path):
        assert _run("init").exit_code == 0
        assert (tmp_path / "gridctl.yaml").read_text() == shipped_text("default")


@pytest.mark.parametrize("name", shipped_names())
def test_init_from_each_shipped_topology(tmp_path: Path, name: str) -> None:
    file = tmp_path / "x.yaml"
    assert _run("init", file, "--from", name).exit_code == 0
    assert file.read_text() == shipped_text(name)


def test_init_never_overwrites_without_force(tmp_path: Path) -> None:
    file = _file(tmp_path, "name: mine\n")
    result = _run("init", file)
    assert isinstance(result.exception, GridError)
    assert result.exception.message == f"{file} is there already"
    assert "--force" in result.exception.hint
    assert file.read_text() == "name: mine\n"
    assert _run("init", file, "--force", "--from", "city").exit_code == 0
    assert file.read_text() == shipped_text("city")


def test_init_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(GridError, match="cannot be written: No such file or directory"):
        write_topology(tmp_path / "none" / "x.yaml", "default", force=False)
    with pytest.raises(GridError, match="cannot be written: Is a directory"):
        write_topology(tmp_path, "default", force=True)


def test_check_answers_all_faults(tmp_path: Path) -> None:
    file = _file(tmp_path, "balancer:\n  port: 0\nsubstations:\n  - {name: a, max_session: 3}\n  - {name: a}\n")
    for arguments in (("check", file), ("check", "-f", file), ("check", "--file", file)):
        exception = _run(*arguments).exception
        assert isinstance(exception, Invalid)
        assert exception.exit_code == 2
        assert [(fault.where, fault.line, fault.key) for fault in exception.faults] == [
            (str(file), 2, "balancer.port"),
            (str(file), 4, "substations[0].max_session"),
            (str(file), 5, "substations[1].name"),
        ]


def test_check_finds_the_file_as_every_verb_does(tmp_path: Path) -> None:
    file = _file(tmp_path / "above", "substations: 7\n")
    with chdir(tmp_path / "above"):
        assert _run("check", env={"GRIDCTL_FILE": ""}).output.startswith(f"{file}: ok: 7 substations")
        other = _file(tmp_path, "substations: 1\n", "other.yaml")
        assert _run("check", env={"GRIDCTL_FILE": str(other)}).output.startswith(f"{other}: ok: 1 substation,")


def test_check_of_no_file_is_about_the_built_in_default() -> None:
    assert check_topology(None).startswith("the built-in default: ok: 3 substations")


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    exception = _run("check", tmp_path / "none.yaml").exception
    assert isinstance(exception, Invalid)
    assert exception.faults[0].found == "no such file"


def test_file_twice_is_a_usage_error() -> None:
    result = _run("check", "a", "-f", "b")
    assert result.exit_code == 2
    assert "give one of them" in result.output


def test_show_is_a_topology_with_every_default(tmp_path: Path) -> None:
    file = _file(tmp_path / "my-grid", "defaults: {max_sessions: 4}\nsubstations: 2\n")
    result = _run("show", file)
    assert result.output.startswith(f"# effective topology of {file}\nname: my-grid\n")
    assert not result.output.endswith("\n\n")
    shown = parse_topology(result.output, "shown")
    assert [(entry.max_sessions, entry.port, entry.power_kw) for entry in shown.substations] == [
        (4, 9001, 7.4),
        (4, 9002, 7.4),
    ]
    assert json.loads(_run("show", file, "--json").output) == yaml.safe_load(result.output)


def test_show_applies_flags_before_environment_before_file(tmp_path: Path) -> None:
    file = _file(tmp_path, "substations: 2\ntime_scale: 2\nbalancer: {policy: random}\n")
    environ = {"GRIDCTL_SUBSTATIONS": "5", "GRIDCTL_POLICY": "round-robin", "GRIDCTL_NAME": "b"}
    values = json.loads(_run("show", file, "--json", "--substations", "1", env=environ).output)
    assert (len(values["substations"]), values["balancer"]["policy"]) == (1, "round-robin")
    assert (values["time_scale"], values["name"]) == (2, "b")
    flags = ("--policy", "least-loaded", "--time-scale", "60", "--name", "c")
    values = json.loads(_run("show", "--json", "-f", file, *flags, env=environ).output)
    assert (values["time_scale"], values["balancer"]["policy"], values["name"]) == (60, "least-loaded", "c")


def test_show_names_wrong_flags_and_variables() -> None:
    exception = _run("show", "--policy", "best", env={"GRIDCTL_TIME_SCALE": "x", "GRIDCTL_FILE": ""}).exception
    assert isinstance(exception, Invalid)
    assert [fault.where for fault in exception.faults] == ["--policy", "$GRIDCTL_TIME_SCALE"]


@pytest.mark.parametrize("name", shipped_names())
def test_show_of_each_shipped_topology_loads_again(tmp_path: Path, name: str) -> None:
    values = show_topology(_file(tmp_path, shipped_text(name)), None, {})
    assert Topology.model_validate(values)


def test_schema_is_json() -> None:
    assert json.loads(_run("schema").output) == topology_schema()
