"""The frame: verbs, help, exit codes, and what the real command does at its ends."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping

import click
import pytest

from gridctl import __version__
from gridctl.cli import SECTIONS, VERBS, run
from services import lane
from tests.gridctl.terminal import gridctl


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_command(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(importlib.import_module(VERBS[verb][0]).command, click.Command)
    assert run([verb, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: gridctl {verb} ")


def test_help_shows_each_verb_in_its_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-h"]) == 0
    shown = capsys.readouterr().out
    assert [line[:-1] for line in shown.splitlines() if line[:-1] in SECTIONS] == list(SECTIONS)
    assert all(f"  {verb} " in shown for verb in VERBS)
    assert run([]) == 0
    assert capsys.readouterr().out == shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == run(["version"]) == 0
    compiled = str(lane.__file__).endswith(".so")
    shown = [f"gridctl {__version__}", f"gridctl {__version__}" + compiled * " (compiled)"]
    assert capsys.readouterr().out.splitlines() == shown
    assert run(["version", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["version"], said["compiled"]) == (__version__, compiled)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pss"], "No such command 'pss'. Did you mean 'ps'?"),
        (["zzzzzz"], "No such command 'zzzzzz'.\n"),
        (["--zzz"], "No such option"),
        (["ps", "--zzz"], "hint: gridctl ps --help"),
        (["ps", "--name", "../x"], "--name"),
        (["logs", "--since", "then"], "--since"),
        (["logs", "--tail", "-1"], "--tail"),
        (["completion", "csh"], "csh"),
    ],
)
def test_usage_errors_exit_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.startswith("error: ")
    assert captured.out == ""


def test_no_cluster_exits_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ps"]) == run(["logs"]) == 3
    assert capsys.readouterr().err == "error: no cluster 'grid' is running\nhint: start one: gridctl up -d\n" * 2


def test_a_reader_that_has_enough_is_no_error(environment: Mapping[str, str]) -> None:
    script = "exec 3>&1; { %s -m gridctl --help; echo $? >&3; } | true" % sys.executable  # noqa: UP031 - braces
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete -o"), ("zsh", "#compdef gridctl"), ("fish", "complete")]
)
def test_completion_scripts(shell: str, mark: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert mark in script
    assert "_GRIDCTL_COMPLETE" in script


def test_completion_answers_verbs(environment: Mapping[str, str]) -> None:
    words = {"_GRIDCTL_COMPLETE": "bash_complete", "COMP_WORDS": "gridctl pa", "COMP_CWORD": "1"}
    assert gridctl(env={**environment, **words}).stdout == "plain,pause\n"


def test_help_is_quick(unmeasured: Mapping[str, str]) -> None:
    """Generous, for a busy machine; the benchmarks hold the real figure."""
    began = time.perf_counter()
    assert gridctl("--help", env=unmeasured).returncode == 0
    assert time.perf_counter() - began < 2.0
