"""`gridctl logs` as a user calls it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from gridctl.cli import run
from gridctl.state import state_root
from tests.gridctl.logs.written import append, record, rotate
from tests.gridctl.terminal import gridctl, gridctl_on, terminal


@pytest.fixture
def folder() -> Path:
    folder = state_root() / "grid" / "logs"
    append(folder / "balancer.log", record(1, "balancer", "one"), record(4, "balancer", "four", "warning"))
    append(folder / "substation1.log", record(2, "substation1", "two"))
    rotate(folder / "substation1.log")
    append(folder / "substation1.log", record(3, "substation1", "three"), "Traceback", "  boom")
    append(folder / "supervisor.log", record(0, "supervisor", "zero"))
    return folder


def last_words(text: str) -> list[str]:
    return [line.split()[-1] for line in text.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["one", "two", "three", "Traceback", "boom", "four"]),
        (["--no-log-prefix"], ["one", "two", "three", "Traceback", "boom", "four"]),
        (["--tail", "1"], ["boom", "four"]),
        (["-n", "0"], []),
        (["--level", "warning"], ["Traceback", "boom", "four"]),
        (["--since", "2026-01-01T00:00:02.5Z"], ["three", "Traceback", "boom", "four"]),
        (["--since", "1s"], []),
        (["balancer"], ["one", "four"]),
        (["b*", "sup*"], ["zero", "one", "four"]),
        (["*1", "--tail", "4"], ["two", "three", "Traceback", "boom"]),
    ],
)
def test_a_stopped_clusters_logs(
    arguments: list[str], expected: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["logs", *arguments]) == 0
    assert last_words(capsys.readouterr().out) == expected


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["message"] for line in lines] == ["one", "two", "three", "Traceback", "  boom", "four"]
    assert {line["name"] for line in lines} == {"balancer", "substation1"}


def test_an_unknown_name_names_the_known_ones(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", "balacer"]) == 2
    assert capsys.readouterr().err == (
        "error: no process 'balacer'\nhint: did you mean balancer? known: balancer, substation1, supervisor\n"
    )


def test_a_cluster_that_has_not_logged_yet(capsys: pytest.CaptureFixture[str]) -> None:
    (state_root() / "grid").mkdir(parents=True)
    assert run(["logs"]) == 0
    assert capsys.readouterr().out == ""


def test_colours_on_a_terminal_only(folder: Path, environment: Mapping[str, str]) -> None:
    with terminal(60) as screen:
        assert gridctl_on(screen, ["logs"], environment) == 0
        assert "\x1b[" in screen.shown()
        assert gridctl_on(screen, ["logs"], {**environment, "NO_COLOR": "1"}) == 0
        assert "\x1b[" not in screen.shown()
    assert "\x1b[" not in gridctl("logs", env=environment).stdout


def test_a_reader_that_has_enough(folder: Path, environment: Mapping[str, str]) -> None:
    append(folder / "balancer.log", *(record(5 + number, "balancer", "x" * 99) for number in range(5000)))
    with following(environment, "--no-log-prefix") as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr
        assert process.stderr.read() == ""


@contextmanager
def following(environment: Mapping[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "gridctl", "logs", "-f", *arguments]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_follow_through_rotation_and_scaling_until_ctrl_c(folder: Path, environment: Mapping[str, str]) -> None:
    with following(environment, "-n", "1") as process:
        assert process.stdout
        assert process.stderr
        assert last_words(process.stdout.readline() + process.stdout.readline()) == ["boom", "four"]
        append(folder / "balancer.log", record(5, "balancer", "five"))
        assert last_words(process.stdout.readline()) == ["five"]
        rotate(folder / "balancer.log")
        append(folder / "balancer.log", record(6, "balancer", "six"))
        assert last_words(process.stdout.readline()) == ["six"]
        append(folder / "substation2.log", record(7, "substation2", "seven"))
        assert last_words(process.stdout.readline()) == ["seven"]
        append(folder / "supervisor.log", record(8, "supervisor", "eight"))
        append(folder / "balancer.log", record(9, "balancer", "nine"))
        assert last_words(process.stdout.readline()) == ["nine"]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stdout.read() == process.stderr.read() == ""
