"""The live view on a real pty: the whole command, and the loop with fakes."""

from __future__ import annotations

import io
import itertools
import os
import signal
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from config.errors import GridError, NotRunning
from gridctl.top.live import Hooks, watch
from gridctl.top.terminal import keys_in
from tests.gridctl.top.screen import Run, Screen
from tests.gridctl.top.snapshots import lively
from tests.gridctl.top.supervisor import supervisor

TOP = ("-m", "gridctl", "top", "--interval", "0.1")


@pytest.fixture
def root(environment: dict[str, str]) -> Path:
    return Path(environment["GRIDCTL_STATE_DIR"])


@pytest.fixture
def three(root: Path) -> Iterator[Callable[[], None]]:
    ticks = itertools.count()
    with supervisor(root, lambda: lively(3, next(ticks))) as end:
        yield end


def is_restored(run: Run) -> bool:
    return (
        not run.screen.alternate
        and run.screen.cursor_shown
        and termios.tcgetattr(run.slave) == run.settings
        and not run.screen.scrolled
    )


def echoes(run: Run) -> bool:
    return bool(termios.tcgetattr(run.slave)[3] & termios.ECHO)


@pytest.mark.usefixtures("three")
def test_q_leaves_and_the_terminal_is_as_before() -> None:
    with Run(TOP) as run:
        run.shows("substation3", "requests/s", "q quits")
        assert run.screen.alternate
        assert not run.screen.cursor_shown
        assert not echoes(run)
        run.press("xq")
        assert run.ends() == 0
        assert is_restored(run)


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_signals_leave_and_restore(signum: signal.Signals, code: int) -> None:
    with Run(TOP) as run:
        run.shows("substation3")
        if signum == signal.SIGINT:
            run.press("\x03")
        else:
            run.process.send_signal(signum)
        assert run.ends() == code
        assert is_restored(run)


@pytest.mark.usefixtures("three")
def test_it_moves_with_the_grid_and_survives_every_size() -> None:
    with Run(TOP) as run:
        run.shows("substation3", "mem")
        before = run.screen.text
        run.until(lambda: run.screen.text != before)
        for size in ((60, 10), (20, 3), (1, 1), (200, 60)):
            run.resize(*size)
            run.until(run.is_drawn)
        run.shows("substation3", "mem", "q quits")
        run.press("q")
        assert run.ends() == 0
        assert is_restored(run)


def test_pages_turn(root: Path) -> None:
    with supervisor(root, lambda: lively(1000)), Run(TOP) as run:
        run.shows("of 1000 not shown", "page 1/")
        for keys, page in (("\x1b[6~", "2/"), ("\x1b[B", "3/"), ("k", "2/"), ("\x1b[H", "1/"), ("G", "13/")):
            run.press(keys)
            run.shows(f"page {page}")
        run.press("q")
        assert run.ends() == 0


def test_the_end_of_the_cluster_is_noticed(three: Callable[[], None]) -> None:
    with Run(TOP) as run:
        run.shows("substation3")
        three()
        assert run.ends() == 0
        assert is_restored(run)
        assert run.screen.below.strip() == "grid stopped"


@pytest.mark.usefixtures("three")
def test_without_a_keyboard_it_shows_and_ends_by_signal() -> None:
    with Run(TOP, stdin=subprocess.DEVNULL) as run:
        run.shows("substation3")
        assert echoes(run)
        run.press("\x03")
        assert run.ends() == 130
        assert not run.screen.alternate


@pytest.mark.usefixtures("three")
def test_ctrl_z_gives_the_terminal_back_until_it_goes_on() -> None:
    with Run(TOP) as run:
        run.shows("substation3")
        run.press("\x1a")
        run.until(lambda: psutil.Process(run.process.pid).status() == psutil.STATUS_STOPPED)
        run.until(lambda: not run.screen.alternate)
        assert termios.tcgetattr(run.slave) == run.settings
        run.process.send_signal(signal.SIGCONT)
        run.until(lambda: run.screen.alternate)
        run.shows("substation3")
        run.press("q")
        assert run.ends() == 0


def loop(fetch: Callable[[], dict[str, Any]], **hooks: Any) -> tuple[int, str]:
    """`watch` in a thread, as a caller that has the signals itself runs it: its exit code and what it wrote."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24, color_system="256")
    codes: list[int] = []
    settings: dict[str, Any] = {"console": console, "interval_s": 0.001, "keys": io.StringIO()}
    thread = threading.Thread(target=lambda: codes.append(watch(fetch, hooks=Hooks(**hooks), **settings)))
    thread.start()
    thread.join(timeout=20)
    return codes[0], out.getvalue()


def shown(written: str) -> Screen:
    screen = Screen(80, 24)
    screen.feed(written)
    return screen


def test_until_ends_it_and_the_footer_is_the_callers() -> None:
    left = iter([False, False, True])
    code, written = loop(lambda: lively(3), until=lambda: next(left), footer=lambda: "Ctrl-C stops the grid")
    screen = shown(written)
    assert code == 0
    assert "Ctrl-C stops the grid" in screen.text
    assert not screen.alternate
    assert screen.below == ""


def test_the_farewell_is_the_callers() -> None:
    def once() -> Iterator[dict[str, Any]]:
        yield lively(3)
        raise NotRunning("gone")

    frames = once()
    assert shown(loop(lambda: next(frames), farewell="that was it")[1]).below.strip() == "that was it"
    frames = once()
    assert shown(loop(lambda: next(frames), farewell="")[1]).below == ""


def test_a_silent_supervisor_is_shown_and_waited_for() -> None:
    frames = [lively(3)]
    ends = iter([False, False, True])

    def fetch() -> dict[str, Any]:
        if not frames:
            raise GridError("the supervisor does not answer")
        return frames.pop()

    screen = shown(loop(fetch, until=lambda: next(ends))[1])
    assert "the supervisor does not answer" in screen.text
    assert "substation3" in screen.text


def test_what_the_first_fetch_raises_comes_out_before_the_screen_changes() -> None:
    def nothing() -> dict[str, Any]:
        raise NotRunning("no cluster")

    out = io.StringIO()
    with pytest.raises(NotRunning):
        watch(nothing, console=Console(file=out, force_terminal=True), keys=io.StringIO())
    assert out.getvalue() == ""


def test_a_line_that_did_not_change_is_not_written_again() -> None:
    left = iter([False] * 5 + [True])
    _, written = loop(lambda: lively(3), until=lambda: next(left))
    assert written.count("requests/s") == 1


def test_signals_and_q_mean_what_the_caller_says() -> None:
    """In the main thread: a first Ctrl-C goes on, a second ends; handlers and keyboard are put back."""
    master, slave = os.openpty()
    asked: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def on_signal(signum: int) -> int | None:
        asked.append(signum)
        return 7 if len(asked) == 2 else None

    def footer() -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return ""

    with os.fdopen(slave, "w") as terminal:
        console = Console(file=terminal, force_terminal=True)
        code = watch(
            lambda: lively(3),
            console=console,
            interval_s=0.01,
            hooks=Hooks(footer=footer, on_signal=on_signal),
            keys=io.StringIO(),
        )
    os.close(master)
    assert (code, asked) == (7, [signal.SIGINT, signal.SIGINT])
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        (b"\x1b[5~\x1b[6~", ["up", "down"]),
        (b"\x1bOA\x1b[B", ["up", "down"]),
        (b"\x1b[200~xy\x1b[1;5Aq", ["quit"]),
        (b"\x1b", []),
        (b"\xc3\xa9 ", ["down"]),
        (b"", []),
    ],
)
def test_keys(typed: bytes, keys: list[str]) -> None:
    assert keys_in(typed) == keys
