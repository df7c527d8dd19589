"""What is made of a substation's list of sessions, whatever stands in it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from services.balancer.collection import entries, entry

RECORD = {"request_id": "r1", "ev_id": "EV1", "attempt": 1, "state": "charging", "ends_s": 1000.0}
ENDLESS = 10**400


def test_a_record_is_an_entry() -> None:
    found = entry({**RECORD, "reason": ["none", "at", "all"]}, "substation1", 7, -900.0)
    assert found is not None
    assert (found.request_id, found.ends_at_s, found.epoch, found.reason) == ("r1", 100.0, 7, None)


BAD: dict[str, list[Any]] = {
    "state": [[], {}, None, 7, "gone", math.nan],
    "ends_s": [math.nan, math.inf, ENDLESS, "1", None, []],
    "ended_s": [math.nan, -math.inf, -ENDLESS, "1"],
    "attempt": [0, -1, 10**9 + 1, ENDLESS, 1.0, "1", None],
    "request_id": ["", "no name", "r" * 1000, 7, []],
    "ev_id": ["", 7, {}],
}


@pytest.mark.parametrize("bad", [{key: value} for key, values in BAD.items() for value in values])
def test_what_is_no_record_is_left_out_and_harms_no_other(bad: dict[str, Any]) -> None:
    document = {"now_s": 900.0, "epoch": 7, "sessions": [{**RECORD, **bad}, RECORD, None, [], "r2"]}
    assert [found.request_id for found in entries(document, "substation1", 0.0)] == ["r1"]
    again = json.loads(json.dumps(document))  # as Python reads it from the wire: NaN and all
    assert len(entries(again, "substation1", 0.0)) == 1


@pytest.mark.parametrize("now_s", [math.nan, math.inf, ENDLESS, "900", None, []])
def test_without_a_time_nothing_is_known(now_s: Any) -> None:
    assert entries({"now_s": now_s, "epoch": 7, "sessions": [RECORD]}, "substation1", 0.0) == []
