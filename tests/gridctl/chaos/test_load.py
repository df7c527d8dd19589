"""The load is the same for the same seed, fills the grid without drowning it, and notes what each request met."""

from __future__ import annotations

import pytest

from gridctl.chaos.load import LONGEST_S, SHARE, SHORTEST_S, Noting, Told, arrivals, mean_session_s, places
from gridctl.loadtest.arrivals import Order
from gridctl.loadtest.client import Done, Outcome


def test_sessions_are_so_long_that_most_places_are_taken() -> None:
    assert mean_session_s(30, 50.0) == pytest.approx(SHARE * 30 / 50)
    assert mean_session_s(10**9, 1.0) == LONGEST_S
    assert mean_session_s(1, 1e6) == SHORTEST_S
    assert places({"substations": [{"max_sessions": 10}, {"max_sessions": 20}, {"max_sessions": None}]}) == 30
    assert places({"substations": []}) == 1


def test_the_same_seed_gives_the_same_evs_at_the_asked_rate() -> None:
    made = list(arrivals(7, 100.0, 60.0, 0.5, time_scale=10.0))
    assert made == list(arrivals(7, 100.0, 60.0, 0.5, time_scale=10.0))
    assert made != list(arrivals(8, 100.0, 60.0, 0.5, time_scale=10.0))
    assert len(made) == pytest.approx(6000, rel=0.1)
    assert all(0 <= arrival.at_s < 60 for arrival in made)
    lengths = [arrival.charge["duration_s"] / 10 for arrival in made]
    assert sum(lengths) / len(lengths) == pytest.approx(0.5, rel=0.15)
    assert min(lengths) >= SHORTEST_S
    assert max(lengths) <= 2.5


class Answers:
    """A client that answers with what it is given."""

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes = list(outcomes)

    def send(self, order: Order, done: Done) -> None:
        done(self._outcomes.pop(0))


def test_every_reply_is_noted_and_the_placed_ones_for_the_audit() -> None:
    clock = iter(range(100))
    outcomes = (
        Outcome("accepted", substation="s1", status=202),
        Outcome("refused", "grid-full", status=503),
        Outcome("failed", "no answer within 12 s", timed_out=True),
        Outcome("failed", "504 timeout", status=504),
        Outcome("failed", "connection refused"),
    )
    client = Noting(Answers(*outcomes), lambda: float(next(clock)), lambda: 1000.0)
    for number, outcome in enumerate(outcomes):
        told: list[Outcome] = []
        client.send(Order(0.0, f"r{number}", {}), told.append)
        assert told == [outcome]
    assert [(reply.sent_s, reply.answered_s, reply.kind, reply.late) for reply in client.replies] == [
        (0, 1, "accepted", False),
        (2, 3, "refused", False),
        (4, 5, "failed", True),
        (6, 7, "failed", True),
        (8, 9, "failed", False),
    ]
    assert client.placed == [Told("r0", 1000.0, "s1")]
