"""Recorded sessions, from a file to arrivals."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import Invalid
from gridctl.loadtest import trace
from gridctl.loadtest.trace import Recorded, Window

HEADER = "session_id,site,arrival,departure,energy_kwh,max_power_kw\n"
MONDAY = datetime(2020, 1, 13)  # noqa: DTZ001 - traces are in local time


def recorded(hours: float, length_h: float = 1.0, power_kw: float | None = 7.2) -> Recorded:
    arrival = MONDAY + timedelta(hours=hours)
    return Recorded(f"s{hours:g}", arrival, arrival + timedelta(hours=length_h), 3.6, power_kw)


def write(folder: Path, rows: str, header: str = HEADER) -> Path:
    path = folder / "trace.csv"
    path.write_text(header + rows)
    return path


def test_rows_come_in_the_order_of_arrival(tmp_path: Path) -> None:
    rows = "b,X,2020-01-13T18:00:00,2020-01-13T19:00:00,5,\na,X,2020-01-13T17:00:00,2020-01-13T19:00:00,9.5,7.2\n"
    assert [(s.session_id, s.power_kw) for s in trace.read(write(tmp_path, rows))] == [("a", 7.2), ("b", None)]


def test_every_bad_value_is_named_with_its_line(tmp_path: Path) -> None:
    rows = (
        "a,X,2020-01-13T17:00:00,2020-01-13T19:00:00,9.5,7.2\n"
        "b,X,yesterday,2020-01-13T19:00:00,9.5,7.2\n"
        "c,X,2020-01-13T17:00:00,2020-01-13T16:00:00,-1,fast\n"
        "d,X,2020-01-13T17:00:00+01:00,2020-01-13T19:00:00,nan,\n"
        "e\n"
    )
    with pytest.raises(Invalid) as caught:
        trace.read(write(tmp_path, rows))
    places = [(fault.line, fault.key) for fault in caught.value.faults]
    assert places == [
        *[(3, "arrival"), (4, "departure"), (4, "energy_kwh"), (4, "max_power_kw"), (5, "arrival"), (5, "energy_kwh")],
        *[(6, "arrival"), (6, "departure"), (6, "energy_kwh")],
    ]
    assert caught.value.faults[0].found == "'yesterday'"


def test_of_many_bad_values_the_first_are_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as caught:
        trace.read(write(tmp_path, "a,X,no,2020-01-13T19:00:00,1,1\n" * 50))
    assert len(caught.value.faults) == trace.FAULTS_SHOWN
    assert "30 more" in caught.value.hint


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "\0\n"])
def test_a_file_without_the_columns_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(Invalid):
        trace.read(write(tmp_path, content, header=""))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none.csv", tmp_path, binary):
        with pytest.raises(Invalid):
            trace.read(path)


def test_the_concurrency_of_the_trace_stays_at_any_speed() -> None:
    # 600 trace seconds a wall second onto a cluster of 60: an hour of charging becomes 6 wall seconds = 360 grid seconds
    first, second = trace.arrivals([recorded(17), recorded(18)], Window(), speed=600, time_scale=60)
    assert (first.at_s, second.at_s) == (0, 6)
    assert first.charge["departure_in_s"] == pytest.approx(360)
    assert first.charge["power_kw"] == 7.2
    # 3.6 kWh at 7.2 kW took half of the hour; scaled, it takes half of the 360 grid seconds
    assert first.charge["energy_kwh"] / first.charge["power_kw"] * 3600 == pytest.approx(180)


@given(st.floats(0.5, 5000), st.floats(0.5, 5000), st.floats(0.1, 48))
def test_wall_seconds_of_a_session_do_not_depend_on_the_time_scale(speed: float, scale: float, hours: float) -> None:
    (arrival,) = trace.arrivals([recorded(0, hours)], Window(), speed, scale)
    assert arrival.charge["departure_in_s"] / scale == pytest.approx(hours * 3600 / speed)


def test_without_a_power_the_default_is_assumed() -> None:
    (arrival,) = trace.arrivals([recorded(17, power_kw=None)], Window(), 1, 1)
    assert arrival.charge["power_kw"] == trace.DEFAULT_POWER_KW


def test_folded_days_lie_over_each_other() -> None:
    sessions = [recorded(17), recorded(18.5), recorded(24 + 16), recorded(48 + 18)]
    folded = list(trace.arrivals(sessions, Window(), 1, 1, fold_days=True))
    assert [(a.at_s / 3600, a.label) for a in folded] == [(0, "s40"), (1, "s17"), (2, "s66"), (2.5, "s18.5")]


def test_a_window_over_midnight_keeps_the_night_together() -> None:
    window = Window(time(22), time(2))
    sessions = [s for s in (recorded(h) for h in (1, 3, 21, 23, 25)) if window.holds(s.arrival)]
    assert [s.session_id for s in sessions] == ["s1", "s23", "s25"]
    folded = list(trace.arrivals(sessions, window, 1, 1, fold_days=True))
    assert [(a.at_s / 3600, a.label) for a in folded] == [(0, "s23"), (2, "s1"), (2, "s25")]


def test_a_window_of_moments_holds_its_start_and_not_its_end() -> None:
    window = Window(MONDAY + timedelta(hours=15), MONDAY + timedelta(hours=21))
    assert [h for h in (14.9, 15, 20.9, 21, 39) if window.holds(MONDAY + timedelta(hours=h))] == [15, 20.9]
    assert Window().holds(MONDAY)
