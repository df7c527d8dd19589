"""Grid seconds against wall seconds."""

from __future__ import annotations

import time

import pytest

from services.clock import FakeClock, SystemClock, both_clocks


def test_a_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock(time_scale=60, time_s=1000.0)
    assert (clock.monotonic_s(), clock.grid_s(), clock.time_s()) == (0.0, 0.0, 1000.0)
    clock.jump(2)
    assert (clock.monotonic_s(), clock.grid_s(), clock.time_s()) == (2.0, 120.0, 1002.0)
    clock.jump_grid(60)
    assert clock.monotonic_s() == 3.0
    assert clock.unix_s(clock.grid_s()) == clock.time_s() == 1003.0
    assert clock.unix_s(240.0) == 1004.0


def test_the_systems_clock_is_the_machines() -> None:
    clock = SystemClock(time_scale=10)
    assert clock.time_scale == 10
    assert clock.time_s() == pytest.approx(time.time(), abs=0.5)
    assert clock.monotonic_s() == pytest.approx(time.monotonic(), abs=0.5)
    assert clock.grid_s() >= 0


def test_both_clocks_are_read_at_one_instant_though_the_process_is_interrupted() -> None:
    torn = [instant for at_s in range(5) for instant in (at_s, at_s + 0.009, at_s + 0.009)]
    clock = iter([*torn, *[7.5] * 30])
    assert both_clocks(lambda: next(clock), lambda: next(clock) + 100.0) == (7.5, 107.5)


@pytest.mark.parametrize("time_scale", [0.0, -1.0, float("nan")])
def test_time_goes_on(time_scale: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        SystemClock(time_scale)
