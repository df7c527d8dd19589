"""What the simulation found once, each as the shortest history that shows it; and that a history can be had again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from services.balancer.ownership import owner
from tests.services.simulation.network import Weather
from tests.services.simulation.world import Violation, World


@contextmanager
def a_world(places: list[int], seed: int = 1, **settings: Any) -> Iterator[World]:
    world = World(seed, places, **settings)
    try:
        world.run_for(1.0)
        yield world
        world.finish()
    finally:
        world.close()


def history(world: World) -> None:
    for number in range(8):
        world.ask(f"r{number}", f"EV{number}", "b1", duration_s=30.0)
    world.weather("b1", "s1", Weather(lose=0.3, lose_reply=0.3, twice=0.3, delay_s=0.5))
    world.run_for(0.05)
    world.kill("s2", after_steps=5)
    world.run_for(3.0)
    world.start("s2")
    world.kill("b1")
    world.start("b1")
    world.run_for(8.0)


def test_the_same_seed_is_the_same_history_and_another_one_is_not() -> None:
    traces = []
    for seed in (1, 1, 2):
        with a_world([2, 2, 2], seed, admission="queue") as world:
            history(world)
        traces.append(world.trace)
    assert traces[0] == traces[1] != traces[2]


def test_it_sees_a_session_that_vanished() -> None:
    with a_world([2]) as world:
        world.ask("r1", "EV1", "b1", duration_s=300.0)
        world.run_for(1.0)
        world.lose("s1")
        world.lost.clear()
        with pytest.raises(Violation, match="r1 was answered 202 and has neither session nor place"):
            world.check()
        world.violations.clear()
        world.lost.add("r1")


def test_a_session_whose_end_was_ordered_is_nobodys_answer() -> None:
    """A client that asks again while the revocation is on its way was told of the session that it ends."""
    with a_world([1]) as world:
        world.pause("s1")
        world.ask("r1", "EV1", "b1", patience_s=2.0, duration_s=300.0)
        world.run_for(2.5)
        world.unpause("s1")
        for _ in range(40):
            world.ask("r1", "EV1", "b1", patience_s=1.0)
            world.run_for(0.05)
            world.check()
        assert world.promises["r1"].told == ["s1"]


def test_who_has_little_time_left_does_not_wait_beyond_it() -> None:
    """Before it tried a silent grid once more the balancer slept past the request's deadline."""
    with a_world([1]) as world:
        world.pause("s1")
        for _ in range(20):
            world.ask("r1", "EV1", "b1", patience_s=0.3)
            world.run_for(0.4)
            world.check()


def test_a_session_that_could_not_be_written_is_not_found_by_who_collects() -> None:
    """It was found while it was being written; refused then, placed elsewhere, and that one revoked as a duplicate."""
    with a_world([2, 2]) as world:
        world.disk("s1", slow_s=1.0, full=True)
        for number in range(2):
            world.ask(f"r{number}", f"EV{number}", "b1", duration_s=300.0)
        world.run_for(5.0)
        world.check()
        assert [promise.told for promise in world.promises.values()] == [["s2"], ["s2"]]


def test_who_waits_stays_in_the_queue_while_another_balancer_only_tries_to_place_it() -> None:
    """The other one claimed it, and its attempts came to nothing: the request had left the one queue for no other."""
    with a_world([1], balancers=2, admission="queue") as world:
        evs = [f"EV{number}" for number in range(20)]
        own = next(ev_id for ev_id in evs if owner(ev_id, ["http://b1", "http://b2"]) == "http://b1")
        world.ask("r0", "EV-first", "b1", duration_s=300.0)
        world.run_for(1.0)
        world.ask("r1", own, "b1", duration_s=300.0)
        world.run_for(1.0)
        assert world.promises["r1"].queued
        world.kill("b1")
        world.run_for(3.0)
        world.pause("s1")
        world.ask("r1", own, "b2")
        world.run_for(1.0)
        world.start("b1")
        for _ in range(20):
            world.run_for(1.0)
            world.check()


def _batch(world: World, count: int = 12) -> list[str]:
    """So many requests at one moment, hence in few messages; their ids."""
    ids = [f"r{number}" for number in range(count)]
    for number, request_id in enumerate(ids):
        world.ask(request_id, f"EV{number}", "b1", duration_s=300.0)
    return ids


def _run_checked(world: World, wall_s: float) -> None:
    for _ in range(int(wall_s / 0.05)):
        world.run_for(0.05)
        world.check()


def _charging(world: World) -> list[int]:
    return [len(world.charging(request_id)) for request_id in world.promises]


def test_a_connection_that_is_cut_in_the_midst_of_a_batch_leaves_one_session_each() -> None:
    """The sessions had begun, their answers were on the way: nobody may take that for "nothing was sent"."""
    with a_world([20, 20]) as world:
        world.weather("b1", "s1", Weather(delay_reply_s=0.4))
        world.weather("b1", "s2", Weather(delay_reply_s=0.4))
        _batch(world)
        world.run_for(0.03)
        assert sum(_charging(world)) == 12
        world.network.cut("b1", "s1")
        _run_checked(world, 6.0)
        assert _charging(world) == [1] * 12
        assert {len(promise.told) for promise in world.promises.values()} == {1}


@pytest.mark.parametrize("weather", [Weather(lose=1.0), Weather(lose_reply=1.0), Weather(twice=1.0)])
def test_a_batch_that_is_lost_on_the_way_there_or_back_or_doubled_leaves_one_session_each(weather: Weather) -> None:
    with a_world([20, 20]) as world:
        world.weather("b1", "s1", weather)
        _batch(world)
        _run_checked(world, 3.0)
        world.calm()
        _run_checked(world, 6.0)
        assert _charging(world) == [1] * 12
        assert {len(promise.told) for promise in world.promises.values()} == {1}


def test_a_substation_that_dies_in_the_midst_of_a_batch_leaves_one_session_each() -> None:
    for steps in (3, 9, 15, 21):
        with a_world([20, 20], seed=steps) as world:
            world.kill("s1", after_steps=steps)
            _batch(world)
            _run_checked(world, 1.0)
            world.start("s1")
            _run_checked(world, 6.0)
            assert _charging(world) == [1] * 12


def test_who_is_late_on_one_connection_delays_nobody_on_another() -> None:
    with a_world([6, 6]) as world:
        # to connect and to be answered together take less than an attempt may, however the delays are drawn
        world.weather("b1", "s1", Weather(delay_s=1.0, delay_reply_s=1.0))
        _batch(world)
        world.run_for(0.1)
        assert sum(bool(promise.told) for promise in world.promises.values()) == 6
        _run_checked(world, 10.0)
        assert _charging(world) == [1] * 12
