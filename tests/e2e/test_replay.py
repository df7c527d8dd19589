"""The busiest weekday evening of three real months, with its energies and powers, onto substations with kW limits."""

from __future__ import annotations

import csv
import json
from collections import Counter
from datetime import date, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Cluster

pytestmark = pytest.mark.e2e

FIRST_HOUR, END_HOUR = 15, 21
#: Six hours of the trace in half a minute.
SPEED = 720
CAPACITIES_KW = {"north": 22.0, "centre": 37.0, "south": 50.0}


def busiest_evening(path: Path) -> tuple[date, int]:
    """The weekday on which most EVs arrive between 15:00 and 21:00, and how many they are."""
    with path.open() as lines:
        arrivals = [datetime.fromisoformat(row["arrival"]) for row in csv.DictReader(lines)]
    evenings = Counter(a.date() for a in arrivals if a.weekday() < 5 and FIRST_HOUR <= a.hour < END_HOUR)
    return evenings.most_common(1)[0]


def peak_w(sessions: list[dict[str, Any]]) -> int:
    """The most that was drawn at once by these records; who ends at a moment has made room at that moment."""
    changes = [(entry["started_s"], round(entry["power_kw"] * 1000)) for entry in sessions]
    changes += [(entry["ended_s"], -round(entry["power_kw"] * 1000)) for entry in sessions if entry["ended_s"]]
    return max(accumulate(watts for _, watts in sorted(changes)), default=0)


def test_no_limit_is_exceeded_on_a_real_evening(cluster: Cluster, shared_data: Path) -> None:
    trace = shared_data / "norway-2019-11_2020-01.csv"
    day, expected = busiest_evening(trace)
    substations = [{"name": name, "capacity_kw": kw} for name, kw in CAPACITIES_KW.items()]
    topology = {"time_scale": 60, "defaults": {"max_sessions": 30}, "substations": substations}
    grid = cluster(topology=topology)
    window = ("--from", f"{day}T{FIRST_HOUR}:00", "--until", f"{day}T{END_HOUR}:00")
    done = grid.run("loadtest", "--replay", str(trace), "--speed", str(SPEED), *window, "--json", timeout_s=200)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["sent"] == expected > 50
    assert result["failed"] == 0, result["failures"]
    assert result["accepted"] + result["refused"] == expected
    assert all(entry["accepted"] > 0 for entry in result["per_substation"].values())
    assert (result["overloads"], result["excess"]) == (0, 0)
    assert 80 < result["peak_load_pct"] <= 100  # the limits were felt, and held
    recorded = 0
    for name, capacity_kw in CAPACITIES_KW.items():
        status, document = grid.request("GET", "/sessions?ended=1", process=name)
        assert status == 200
        recorded += len(document["sessions"])
        assert peak_w(document["sessions"]) <= capacity_kw * 1000
    assert recorded == result["accepted"]
