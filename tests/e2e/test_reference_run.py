"""The reference run: one EV every two seconds for five minutes onto three substations, ten times as fast."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import Cluster

pytestmark = pytest.mark.e2e


def test_150_evs_are_all_placed_and_evenly(cluster: Cluster) -> None:
    grid = cluster(substations=3, time_scale=10)
    done = grid.run("loadtest", "--rate", "0.5", "--duration", "5m", "--json", "--fail-if", "overloads > 0")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["sent"], result["accepted"], result["refused"], result["failed"]) == (150, 150, 0, 0)
    assert all(47 <= entry["accepted"] <= 53 for entry in result["per_substation"].values()), result["per_substation"]
    assert len(result["peak_sessions"]) == 3
    assert max(result["peak_sessions"].values()) <= 7
    assert result["spread"] < 2
    assert (result["overloads"], result["excess"], result["blocked_share"]) == (0, 0, 0)
    assert result["erlang_b"] == pytest.approx(0.00022, rel=0.05)
