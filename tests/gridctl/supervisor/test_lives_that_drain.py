"""Histories of one process that takes nothing new any more, replayed like those of test_lifecycle.py."""

from __future__ import annotations

import signal

import pytest

from gridctl.supervisor.happenings import (
    Drain,
    Drop,
    Event,
    Exited,
    Moved,
    Probed,
    Refuse,
    Signal,
    Spawn,
    Spawned,
    SpawnFailed,
    Start,
    State,
    Stop,
    Tick,
)
from tests.gridctl.supervisor.lives import play, ready


def test_draining_refuses_then_leaves_when_it_is_empty() -> None:
    one = ready()
    assert play(one, (1, Drain(60, Stop(5)))) == [Refuse(True), Moved(State.READY, State.DRAINING, "")]
    assert play(one, (2, Probed(True, empty=False))) == []
    assert play(one, (3, Probed(True, empty=True)))[0] == Moved(State.DRAINING, State.STOPPING, "")


def test_draining_leaves_after_its_timeout() -> None:
    one = ready()
    play(one, (1, Drain(60, Stop(5))))
    assert play(one, (60.9, Tick())) == []
    assert play(one, (61, Tick()))[-1] == Signal(signal.SIGTERM)


def test_a_start_while_it_drains_takes_sessions_again() -> None:
    one = ready()
    play(one, (1, Drain(60)))
    assert play(one, (2, Start())) == [Refuse(False), Moved(State.DRAINING, State.READY, "")]


def test_a_crash_while_it_drains_is_not_answered_by_a_restart_when_it_was_to_leave() -> None:
    one = ready()
    play(one, (1, Drain(60, Stop(5))), (2, Exited(7, -9)))
    assert one.state is State.STOPPED


def test_a_crash_while_it_drains_for_a_restart_restarts_it() -> None:
    one = ready()
    play(one, (1, Drain(60, Stop(5, again=True))), (2, Exited(7, -9)))
    assert one.state is State.STARTING


def test_what_charges_is_dropped_only_where_nobody_comes_back_and_only_after_the_timeout() -> None:
    for drops in (True, False):
        one = ready()
        play(one, (1, Drain(60, Stop(5), drop=drops)))
        assert (Drop("drain-timeout") in play(one, (61, Tick()))) is drops
    one = ready()
    actions = play(one, (1, Drain(60, Stop(5), drop=True)), (2, Probed(True, empty=True)))
    assert Drop("drain-timeout") not in actions


def test_who_dies_over_sessions_that_would_be_lost_comes_up_once_more_and_drains_on() -> None:
    one = ready()
    play(one, (1, Drain(60, Stop(5), drop=True)))
    assert Spawn() in play(one, (21, Exited(7, -9)))
    assert Refuse(True) in play(one, (21.1, Spawned(8)), (22, Probed(True)))
    assert (one.state, one.deadline, one.restarts) == (State.DRAINING, 22 + 40, 1)
    play(one, (23, Probed(True, empty=True)), (23.1, Exited(8, 0)))
    assert one.state is State.STOPPED


@pytest.mark.parametrize("end", [(Spawned(8), Exited(8, 1)), (SpawnFailed("no memory"),)])
def test_who_does_not_come_up_for_that_is_gone(end: tuple[Event, ...]) -> None:
    one = ready()
    play(one, (1, Drain(60, Stop(5), drop=True)), (21, Exited(7, -9)), *((22, event) for event in end))
    assert one.state is State.STOPPED
