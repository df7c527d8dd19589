"""Histories of one process, replayed on the state machine with a clock that only moves when told."""

from __future__ import annotations

import signal

import pytest

from gridctl.supervisor.happenings import (
    Action,
    Drain,
    Exited,
    Kill,
    Listen,
    Moved,
    Pause,
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
    Unpause,
    describe_exit,
)
from gridctl.supervisor.lifecycle import Watched
from tests.gridctl.supervisor.lives import LIMITS, life, play, ready


def test_who_waited_for_its_birth_has_all_its_time_to_get_healthy() -> None:
    one = life()
    play(one, (0, Start()), (29, Spawned(7)))
    assert play(one, (31, Tick())) == []
    assert play(one, (59.1, Tick())) == [Signal(signal.SIGKILL)]


def test_a_start_listens_then_spawns_and_a_healthy_answer_makes_it_ready() -> None:
    one = life()
    assert one.handle(Start(), 0.0) == [Moved(State.STOPPED, State.STARTING, ""), Listen(True), Spawn()]
    assert one.handle(Spawned(7), 0.1) == []
    assert one.handle(Probed(True), 0.2) == [Moved(State.STARTING, State.READY, "")]


def test_a_crash_waits_and_comes_back_and_is_counted() -> None:
    one = ready()
    assert play(one, (1, Exited(7, -9))) == [Moved(State.READY, State.BACKOFF, "killed by SIGKILL")]
    assert one.deadline is not None
    assert play(one, (one.deadline - 1e-6, Tick())) == []
    actions = play(one, (one.deadline, Tick()))
    assert actions[0] == Moved(State.BACKOFF, State.STARTING, "killed by SIGKILL")
    assert Spawn() in actions
    assert one.restarts == 1


def test_waits_grow_while_it_crashes_soon_and_start_anew_after_stable_running() -> None:
    one = ready()
    waits, now = [], 1.0
    for crash in range(4):
        play(one, (now, Exited(7 + crash, 1)))
        assert one.deadline is not None
        waits.append(one.deadline - now)
        now = one.deadline
        play(one, (now, Tick()), (now, Spawned(8 + crash)), (now, Probed(True)))
    for crash, wait in enumerate(waits):
        whole = one.backoff.first_s * one.backoff.factor**crash
        assert whole / 2 <= wait <= whole
    play(one, (now + LIMITS.stable_s, Exited(11, 1)))
    assert one.deadline is not None
    assert one.deadline - (now + LIMITS.stable_s) <= one.backoff.first_s


def test_what_never_comes_up_is_fatal_and_its_port_refuses() -> None:
    one = life()
    now = 0.0
    play(one, (now, Start()))
    actions: list[Action] = []
    for attempt in range(LIMITS.failed_starts):
        actions = play(one, (now, Spawned(attempt + 1)), (now, Exited(attempt + 1, 3)))
        if one.deadline is not None:
            now = one.deadline
            play(one, (now, Tick()))
    assert one.state is State.FATAL
    assert "exit code 3" in one.reason
    assert actions[-1] == Listen(False)
    assert Spawn() in one.handle(Start(), now)


def test_one_that_was_ready_between_crashes_never_becomes_fatal() -> None:
    one = ready()
    now = 1.0
    for crash in range(20):
        play(one, (now, Exited(7 + crash, 1)))
        assert one.state is State.BACKOFF
        now = one.deadline or now
        play(one, (now, Tick()), (now, Spawned(8 + crash)), (now, Probed(True)))
    assert one.restarts == 20


def test_a_start_that_hangs_is_killed_and_says_what_its_health_said() -> None:
    one = life()
    play(one, (0, Start()), (0.1, Spawned(7)), (1, Probed(False, "health 503: starting")))
    assert play(one, (LIMITS.start_s + 0.1, Tick())) == [Signal(signal.SIGKILL)]
    play(one, (LIMITS.start_s + 0.1, Exited(7, -9)))
    assert one.reason == "not healthy within 30 s (health 503: starting)"


def test_a_stop_wakes_it_asks_it_then_kills_it() -> None:
    one = ready()
    actions = play(one, (1, Stop(timeout_s=5)))
    assert actions == [Moved(State.READY, State.STOPPING, ""), Signal(signal.SIGCONT), Signal(signal.SIGTERM)]
    assert play(one, (5.9, Tick())) == []
    assert play(one, (6.0, Tick())) == [Signal(signal.SIGKILL)]
    assert play(one, (6.1, Exited(7, -9))) == [Moved(State.STOPPING, State.STOPPED, ""), Listen(False)]


def test_a_second_stop_without_patience_kills_at_once() -> None:
    one = ready()
    play(one, (1, Stop(timeout_s=60)), (2, Stop(timeout_s=0)))
    assert play(one, (2, Tick())) == [Signal(signal.SIGKILL)]


def test_a_second_stop_does_not_cut_what_is_being_answered_nor_give_more_time() -> None:
    one = ready()
    play(one, (1, Stop(timeout_s=5)))
    assert play(one, (2, Stop(timeout_s=60))) == []
    assert play(one, (6, Tick())) == [Signal(signal.SIGKILL)]
    assert play(one, (7, Stop(timeout_s=5)), (20, Tick())) == []


def test_the_last_wish_counts_while_it_stops() -> None:
    for wish, state in ((Drain(9, Stop(5, again=True)), State.STARTING), (Stop(5), State.STOPPED)):
        one = ready()
        play(one, (1, Stop(5, again=True)), (2, wish), (3, Exited(7, 0)))
        assert one.state is state


def test_patience_that_ends_before_there_is_a_process_is_not_forgotten() -> None:
    one = life()
    play(one, (0, Start()), (0, Stop(5)))
    assert play(one, (6, Tick())) == []
    assert play(one, (7, Spawned(7))) == [Signal(signal.SIGKILL)]
    other = life()
    assert play(other, (0, Start()), (LIMITS.start_s, Tick())) == []
    play(other, (40, Spawned(8)))
    assert play(other, (40 + LIMITS.start_s, Tick())) == [Signal(signal.SIGKILL)]


def test_a_restart_keeps_the_port_listening() -> None:
    one = ready()
    play(one, (1, Stop(5, again=True)))
    actions = play(one, (1.5, Exited(7, 0)))
    assert actions == [Moved(State.STOPPING, State.STARTING, ""), Listen(True), Spawn()]
    assert one.restarts == 1


def test_a_stop_while_it_is_being_spawned_waits_for_the_process_and_ends_it() -> None:
    one = life()
    assert Moved(State.STARTING, State.STOPPING, "") in play(one, (0, Start()), (0.1, Stop(5)))
    assert play(one, (0.2, Spawned(7))) == [Signal(signal.SIGCONT), Signal(signal.SIGTERM)]
    play(one, (0.3, Exited(7, 0)))
    assert one.state is State.STOPPED


def test_a_stop_while_a_spawn_fails_ends_stopped() -> None:
    one = life()
    play(one, (0, Start()), (0.1, Stop(5)), (0.2, SpawnFailed("no zygote")))
    assert one.state is State.STOPPED


def test_a_start_during_a_stop_brings_it_back() -> None:
    one = ready()
    play(one, (1, Stop(5)), (1.1, Start()))
    assert Spawn() in play(one, (1.5, Exited(7, 0)))


def test_one_that_says_itself_what_it_cannot_do_is_unhealthy_at_once_and_not_started_again() -> None:
    one = life()
    play(one, (0, Start()), (0.1, Spawned(7)))
    unable = Probed(False, "no room to write", degraded=True)
    assert play(one, (0.2, unable)) == [Moved(State.STARTING, State.UNHEALTHY, "no room to write")]
    assert (one.deadline, play(one, (60, Tick()))) == (None, [])
    assert play(one, (61, Probed(True))) == [Moved(State.UNHEALTHY, State.READY, "")]
    assert play(one, (62, unable)) == [Moved(State.READY, State.UNHEALTHY, "no room to write")]
    play(one, (63, Drain(60, Stop(5))))
    assert play(one, (64, Probed(False, "x", empty=True, degraded=True)))[0].new is State.STOPPING  # type: ignore[union-attr]


def test_pause_and_unpause() -> None:
    one = ready()
    assert play(one, (1, Pause())) == [Signal(signal.SIGSTOP), Moved(State.READY, State.PAUSED, "")]
    assert play(one, (2, Probed(False, "timeout"))) == []
    assert play(one, (3, Unpause())) == [Signal(signal.SIGCONT), Moved(State.PAUSED, State.READY, "")]


def test_a_paused_one_is_woken_before_it_drains() -> None:
    one = ready()
    play(one, (1, Pause()))
    assert play(one, (2, Drain(60)))[:2] == [Signal(signal.SIGCONT), Refuse(True)]


def test_three_failed_probes_make_it_unhealthy_and_one_good_one_heals() -> None:
    one = ready()
    play(one, (1, Probed(False, "timeout")), (2, Probed(False, "timeout")))
    assert one.state is State.READY
    assert play(one, (3, Probed(False, "timeout"))) == [Moved(State.READY, State.UNHEALTHY, "timeout")]
    assert play(one, (4, Probed(True))) == [Moved(State.UNHEALTHY, State.READY, "")]


def test_a_kill_is_only_a_signal() -> None:
    one = ready()
    assert play(one, (1, Kill(9))) == [Signal(9)]
    assert one.state is State.READY
    assert play(life(), (0, Kill(9))) == []


def test_the_exit_of_an_earlier_process_means_nothing() -> None:
    assert play(ready(), (1, Exited(6, 1))) == []


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "exit code 0"), (2, "exit code 2"), (-9, "killed by SIGKILL"), (-99, "killed by signal 99")],
)
def test_exit_in_words(status: int, words: str) -> None:
    assert describe_exit(status) == words


def test_somebody_elses_service_is_only_watched() -> None:
    one = Watched()
    play(one, (0, Start()))
    assert play(one, (1, Probed(True))) == [Moved(State.STARTING, State.READY, "")]
    assert play(one, (2, Probed(False, "stale"))) == [Moved(State.READY, State.UNHEALTHY, "stale")]
    assert play(one, (3, Kill(9)), (3, Pause())) == []
    assert play(one, (4, Stop())) == [Moved(State.UNHEALTHY, State.STOPPED, "")]
