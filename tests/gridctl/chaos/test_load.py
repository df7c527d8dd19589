"""The load is the same for the same seed, fills the grid without drowning it, and notes what each request met."""

from __future__ import annotations

import pytest

from gridctl.chaos.load import LONGEST_S, SHARE, SHORTEST_S, STRANGER, Noting, Told, arrivals, mean_session_s, places
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


class Held:
    """A client whose answers come when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Done] = []

    def send(self, order: Order, done: Done) -> None:
        self.asked.append(done)


ACCEPTED = Outcome("accepted", substation="s1", status=202)
REFUSED = Outcome("refused", "grid-full", status=503)
NOBODY = Outcome("failed", "connection refused")


class Moving:
    """Requests to `old` before, while and after nobody of ours was there; `told` are their outcomes by number."""

    def __init__(self) -> None:
        self.old, self.now_s, self.told = Held(), 0.0, dict[int, Outcome]()
        self.client = Noting(self.old, lambda: self.now_s, lambda: 1000 + self.now_s)

    def send(self) -> None:
        number = len(self.client.replies) + len(self.old.asked)
        self.client.send(Order(0.0, f"r{number}", {}), lambda outcome: self.told.__setitem__(number, outcome))

    def answer(self, outcome: Outcome) -> None:
        self.now_s += 1
        self.old.asked.pop(0)(outcome)


def test_what_came_while_nobody_of_ours_was_there_is_the_grid_s_where_it_comes_back() -> None:
    moving = Moving()
    for _ in range(3):
        moving.send()
    moving.answer(ACCEPTED)
    moving.client.leave()
    moving.answer(ACCEPTED)
    moving.answer(NOBODY)
    assert moving.told == {0: ACCEPTED, 2: NOBODY}, "a refused connection is nobody's answer"
    moving.client.arrive(Held(), same=True)
    assert moving.told == {0: ACCEPTED, 1: ACCEPTED, 2: NOBODY}
    assert moving.client.placed == [Told("r0", 1001, "s1"), Told("r1", 1002, "s1")]
    assert [reply.answered_s for reply in moving.client.replies] == [1, 3, 2]


@pytest.mark.parametrize("comes_back", [True, False])
def test_another_that_took_the_port_promises_nothing_in_our_name(comes_back: bool) -> None:
    moving, new = Moving(), Held()
    for _ in range(4):
        moving.send()
    moving.answer(ACCEPTED)
    moving.client.leave()
    moving.answer(ACCEPTED)
    moving.answer(REFUSED)
    if comes_back:
        moving.client.arrive(new, same=False)
    else:
        moving.client.give_up()
    moving.answer(ACCEPTED)
    assert [(told.kind, told.reason) for _, told in sorted(moving.told.items())] == [
        ("accepted", ""),
        *[("failed", STRANGER)] * 3,
    ]
    assert moving.client.placed == [Told("r0", 1001, "s1")]
    assert [reply.kind for reply in moving.client.replies] == ["accepted", *["failed"] * 3]
    if comes_back:
        moving.send()
        new.asked.pop()(ACCEPTED)
        assert moving.client.placed[1:] == [Told("r4", 1004, "s1")]
