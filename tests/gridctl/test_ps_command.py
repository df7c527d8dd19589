"""`gridctl ps` against a real socket: for scripts, into pipes, and on terminals of several widths."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

import pytest

from gridctl.cli import run
from gridctl.state import ClusterPaths, state_root
from tests.gridctl.fake_supervisor import Supervisor, process, snapshot, supervisor_at
from tests.gridctl.terminal import gridctl, gridctl_on, terminal

KEYS = [
    *("name", "role", "state", "pid", "host", "port", "url", "own_url"),
    *("restarts", "uptime_s", "cpu_pct", "rss_bytes", "reason"),
]
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(autouse=True)
def supervisor() -> Iterator[Supervisor]:
    with supervisor_at(ClusterPaths(state_root(), "grid")) as server:
        server.answers["GET /snapshot"] = 200, snapshot("grid", *processes())
        yield server


def processes() -> list[dict[str, object]]:
    down = {"pid": None, "uptime_s": None, "cpu_pct": None, "rss_bytes": None}
    return [
        process("charge-request", role="charge-request", port=8080),
        process("substation1"),
        process("substation2", state="FATAL", restarts=5, reason="exited with 1 five times", **down),
        process("substation3", state="STOPPED", reason="by the user", **down),
        process("other", role="external", host=None, port=None, url="http://10.0.0.7:7601", **down),
    ]


def test_json_has_exactly_the_documented_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ps", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [list(entry) for entry in document] == [KEYS] * 5
    assert [document[2]["state"], document[2]["pid"]] == ["FATAL", None]


def test_names_and_globs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ps", "--json", "substation?", "other"]) == 0
    names = [entry["name"] for entry in json.loads(capsys.readouterr().out)]
    assert names == ["substation1", "substation2", "substation3", "other"]
    assert run(["ps", "substaton1"]) == 2
    assert "did you mean substation1?" in capsys.readouterr().err


def test_into_a_pipe_every_column_is_there_and_no_ansi(environment: Mapping[str, str]) -> None:
    done = gridctl("ps", env={**environment, "COLUMNS": "40"})
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert lines[0].split() == ["NAME", "ROLE", "STATE", "PID", "ENDPOINT", "RESTARTS", "UPTIME", "CPU", "MEM"]
    assert lines[2].split() == [
        "substation1",
        "substation",
        "READY",
        "1234",
        "127.0.0.1:9001",
        "0",
        "1m15s",
        "1.2%",
        "6.1M",
    ]
    assert lines[5].split() == ["other", "external", "READY", "-", "http://10.0.0.7:7601", "0", "-", "-", "-"]
    assert lines[6:] == ["substation2 FATAL: exited with 1 five times"]


@pytest.mark.parametrize("columns", [200, 80, 60, 30])
def test_no_line_is_wider_than_the_terminal(columns: int, environment: Mapping[str, str]) -> None:
    with terminal(columns) as screen:
        assert gridctl_on(screen, ["ps"], environment) == 0
        shown = screen.shown()
    table = ANSI.sub("", shown).splitlines()[:-1]
    assert "\x1b[" in shown
    assert len(table) == 6
    assert max(map(len, table)) <= columns
    assert all(name in shown for name in ("substation1", "FATAL", "five times"))


def test_no_color_on_a_terminal_of_60_columns(environment: Mapping[str, str]) -> None:
    with terminal(60) as screen:
        assert gridctl_on(screen, ["ps"], {**environment, "NO_COLOR": "1"}) == 0
        shown = screen.shown()
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 60
    assert "ENDPOINT" in shown


def test_completion_of_processes_and_clusters(environment: Mapping[str, str]) -> None:
    words = {"_GRIDCTL_COMPLETE": "bash_complete", "COMP_WORDS": "gridctl ps sub", "COMP_CWORD": "2"}
    shown = gridctl(env={**environment, **words}).stdout.split()
    assert shown == ["plain,substation1", "plain,substation2", "plain,substation3"]
    words = {"_GRIDCTL_COMPLETE": "bash_complete", "COMP_WORDS": "gridctl ps --name g", "COMP_CWORD": "3"}
    assert gridctl(env={**environment, **words}).stdout == "plain,grid\n"
    words = {"_GRIDCTL_COMPLETE": "bash_complete", "COMP_WORDS": "gridctl ps --name x sub", "COMP_CWORD": "4"}
    done = gridctl(env={**environment, **words})
    assert (done.stdout.strip(), done.stderr) == ("", "")
