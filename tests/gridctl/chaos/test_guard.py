"""Whoever is frozen is woken, however its freezer ends; and no signal ever reaches a process that is not the one meant."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from gridctl.chaos.census import Person, send
from gridctl.chaos.guard import Guard, watch
from gridctl.identity import identify

#: Freezes the process named on its command line, says so, and waits to be killed.
FREEZER = """
import sys, time
from gridctl.chaos.census import Person
from gridctl.chaos.guard import Guard
with Guard() as guard:
    assert guard.freeze(Person(int(sys.argv[1]), sys.argv[2]))
    print("frozen", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def sleeper() -> Iterator[psutil.Process]:
    """A process that does nothing for a minute."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield psutil.Process(process.pid)
    process.kill()
    process.wait()


def person(process: psutil.Process) -> Person:
    found = identify(process.pid)
    assert found is not None
    return Person(process.pid, found)


def becomes(process: psutil.Process, frozen: bool, within_s: float = 10.0) -> bool:
    """Whether it is frozen, or not, within the time."""
    end_s = time.monotonic() + within_s
    while (process.status() == psutil.STATUS_STOPPED) is not frozen:
        if time.monotonic() > end_s:
            return False
        time.sleep(0.01)
    return True


def test_leaving_the_guard_wakes_all_that_is_frozen(sleeper: psutil.Process) -> None:
    with Guard() as guard:
        assert guard.freeze(person(sleeper))
        assert becomes(sleeper, frozen=True)
        assert guard.frozen == {person(sleeper)}
    assert becomes(sleeper, frozen=False)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_freezer_that_is_killed_leaves_nobody_frozen(sleeper: psutil.Process, number: signal.Signals) -> None:
    command = [sys.executable, "-c", FREEZER, str(sleeper.pid), person(sleeper).identity]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as freezer:
        assert freezer.stdout is not None
        assert freezer.stdout.readline() == b"frozen\n"
        assert becomes(sleeper, frozen=True)
        freezer.send_signal(number)
    assert becomes(sleeper, frozen=False)


def test_who_was_woken_is_not_noted_any_more(sleeper: psutil.Process) -> None:
    with Guard() as guard:
        guard.freeze(person(sleeper))
        assert guard.wake(person(sleeper))
        assert guard.frozen == frozenset()
        assert becomes(sleeper, frozen=False)
        sleeper.send_signal(signal.SIGSTOP)
        assert becomes(sleeper, frozen=True)
    assert becomes(sleeper, frozen=True)  # somebody else froze it since: not ours to wake


def test_a_process_that_is_not_the_one_meant_gets_no_signal(sleeper: psutil.Process) -> None:
    stranger = Person(sleeper.pid, "another boot:1")
    with Guard() as guard:
        assert not guard.freeze(stranger)
        assert guard.frozen == frozenset()
    for number in (signal.SIGSTOP, signal.SIGKILL):
        assert not send(stranger, number)
    assert becomes(sleeper, frozen=False)
    assert sleeper.is_running()


def test_who_is_gone_gets_no_signal() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    gone = person(psutil.Process(process.pid))
    process.communicate()
    assert not send(gone, signal.SIGKILL)


def test_the_watch_wakes_only_those_that_are_frozen_at_the_end(sleeper: psutil.Process) -> None:
    sleeper.send_signal(signal.SIGSTOP)
    assert becomes(sleeper, frozen=True)
    notes = [("frozen", person(sleeper)), ("frozen", Person(1, "nobody")), ("woken", Person(1, "nobody"))]
    watch(json.dumps([word, *who]).encode() for word, who in notes)
    assert becomes(sleeper, frozen=False)
