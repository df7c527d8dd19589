"""The leak guard itself: what it must find, and what it must let pass."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from tests import leaks

WAITS = "import sys; print(flush=True); sys.stdin.read()"
DETACHES = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WAITS!r}], start_new_session=True)"


def start(code: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """A process that answered once, so that it is up."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_child_is_found_and_killed(environment: dict[str, str]) -> None:
    before = leaks.snapshot()
    with start(WAITS, environment) as child:
        left = leaks.left_processes(before, "another-session", [], 0)
        lines = leaks.describe_and_kill(left)
    assert [process.pid for process in left] == [child.pid]
    assert f"process {child.pid}" in lines[0]


def test_a_daemon_is_found_by_its_mark(environment: dict[str, str]) -> None:
    before = leaks.snapshot()
    with start(DETACHES, environment) as parent:
        parent.wait()
        left = leaks.left_processes(before, environment[leaks.MARK], [], 0)
        leaks.describe_and_kill(left)
    psutil.wait_procs(left)
    assert [process.ppid() for process in left if process.is_running()] == []
    assert len(left) == 1


def test_a_daemon_without_a_mark_is_found_by_its_open_file(environment: dict[str, str], tmp_path: Path) -> None:
    before = leaks.snapshot()
    plain = {name: value for name, value in environment.items() if name != leaks.MARK}
    log = tmp_path / "log"
    with start(f"held = open({str(log)!r}, 'w')\n" + WAITS, plain) as child:
        assert leaks._belongs(child.pid, set(), "another-session", (str(tmp_path),)) is not None
        leaks.describe_and_kill(leaks.left_processes(before, "another-session", [tmp_path], 0))


def test_a_zombie_counts_as_gone(environment: dict[str, str]) -> None:
    before = leaks.snapshot()
    child = subprocess.Popen(["true"], env=environment)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert leaks.left_processes(before, environment[leaks.MARK], []) == []
    child.wait()


def test_a_listening_port_of_our_own_is_seen() -> None:
    before = leaks.snapshot()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert leaks.own_ports() - before.ports == {listener.getsockname()[1]}
    assert leaks.own_ports() == before.ports
