"""Who waited longest."""

from __future__ import annotations

from gridctl.loadtest.arrivals import Order
from gridctl.loadtest.slowest import Slowest


def test_the_slowest_are_named_the_slowest_first_and_of_two_alike_the_first() -> None:
    slowest = Slowest(most=3)
    assert slowest.to_json() == []
    for number, latency_s in enumerate((0.2, 0.1, 0.3, 0.2, 0.0004, 0.2)):
        slowest.note(Order(0, f"r{number}", {}, f"00-{number:032x}-{1:016x}-01"), latency_s)
    assert [(each["request_id"], each["latency_ms"]) for each in slowest.to_json()] == [
        ("r2", 300.0),
        ("r0", 200.0),
        ("r3", 200.0),
    ]
    assert slowest.to_json()[0]["trace_id"] == f"{2:032x}"
