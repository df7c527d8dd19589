"""What an operation's progress looks like: on a terminal, in a pipe, and where the reader is gone."""

from __future__ import annotations

import io
import os

from gridctl.progress import CLEAR, FEW, Progress
from tests.gridctl.terminal import terminal


def line(name: str, state: str) -> dict[str, str]:
    return {"name": name, "state": state, "message": f"{name} {state}"}


def test_in_a_pipe_every_state_is_a_line() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    for state in ("STOPPING", "STOPPED"):
        progress.show(line("balancer", state))
    assert stream.getvalue() == "balancer STOPPING\nbalancer STOPPED\n"


def test_only_troubles_are_said_where_not_every_state_is_wanted() -> None:
    stream = io.StringIO()
    progress = Progress(stream, every_state=False)
    for state in ("STARTING", "BACKOFF", "READY"):
        progress.show(line("balancer", state))
    assert stream.getvalue() == "balancer BACKOFF\n"


def test_what_is_waited_for_is_said_seldom_where_lines_stay() -> None:
    now_s = 0.0
    stream = io.StringIO()
    progress = Progress(stream, now=lambda: now_s)
    for now_s in (0.0, 1.0, 4.9, 5.0, 6.0):
        progress.show({"message": f"waiting at {now_s}", "waiting": ["balancer"]})
    assert stream.getvalue() == "waiting at 0.0\nwaiting at 5.0\n"


def test_on_a_terminal_few_processes_get_a_line_each_and_many_a_tally() -> None:
    with terminal(40) as screen:
        progress = Progress(screen.stream)
        progress.show(line("balancer", "STOPPING"))
        progress.show(line("balancer", "STOPPED"))
        for number in range(FEW):
            progress.show(line(f"substation{number}", "STOPPING"))
        for number in range(FEW):
            progress.show(line(f"substation{number}", "STOPPED"))
        progress.clear()
        written = screen.shown()
    assert f"{CLEAR}1 STOPPING{CLEAR}balancer STOPPED\n" in written
    assert f"{CLEAR}21 STOPPED{CLEAR}" in written
    assert "substation3 STOPPED" not in written


def test_a_reader_that_is_gone_costs_the_words_only() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        progress = Progress(stream)
        told = 0
        for number in range(3):
            progress.say(f"line {number}")
            told += 1
        assert told == 3, "nothing is raised"
