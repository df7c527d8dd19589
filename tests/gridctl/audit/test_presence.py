"""When a process could surely be reached, by what a supervisor wrote."""

from __future__ import annotations

import math

import pytest

from gridctl.audit.evidence import Presence
from gridctl.audit.presence import NOTICED_S, SETTLED_S, UNANSWERED_S, Change, presences


def changes(*words: tuple[float, str], first: int = 1, name: str = "s1") -> list[Change]:
    return [Change(at_s, seq, name, state, "substation") for seq, (at_s, state) in enumerate(words, first)]


@pytest.mark.parametrize("state", ["PAUSED", "DRAINING", "BACKOFF", "STOPPING", "STOPPED", "FATAL"])
def test_from_a_while_after_ready_to_a_while_before_it_left(state: str) -> None:
    there = presences(changes((10, "STARTING"), (11, "READY"), (50, state), (60, "READY")), alive=True)
    assert there["s1"].spans == ((11 + SETTLED_S, 50 - NOTICED_S), (60 + SETTLED_S, math.inf))


def test_silence_is_noticed_late() -> None:
    there = presences(changes((10, "READY"), (50, "UNHEALTHY"), (52, "STOPPED")), alive=True)
    assert there["s1"].spans == ((10 + SETTLED_S, 50 - UNANSWERED_S),)
    brief = presences(changes((10, "READY"), (12, "UNHEALTHY")), alive=True)
    assert brief["s1"].spans == ()


def test_a_supervisor_that_died_tells_no_more_than_its_last_event() -> None:
    events = [*changes((10, "READY")), Change(40, 2, "s2", "READY", "substation")]
    assert presences(events, alive=False)["s1"].spans == ((10 + SETTLED_S, 40),)
    assert presences(events, alive=True)["s1"].spans == ((10 + SETTLED_S, math.inf),)
    again = [*events, *changes((90, "STARTING"), (91, "READY"))]
    assert presences(again, alive=True)["s1"].spans == ((10 + SETTLED_S, 40), (91 + SETTLED_S, math.inf))
    assert presences(again, alive=True)["s2"].spans == ()


def test_nothing_is_known_of_whom_no_event_tells() -> None:
    assert presences([], alive=True) == {}
    assert presences([Change(5, 1)], alive=True) == {}


def test_spans_are_asked_as_a_whole() -> None:
    there = Presence(((0, 10), (20, 30)))
    assert [there.throughout(*span) for span in ((0, 10), (5, 11), (-1, 5), (20, 20), (9, 21), (30.1, 31))] == [
        *(True, False, False, True, False, False)
    ]
    assert [there.longest_s(*span) for span in ((5, 22), (12, 18), (8, 40))] == [5, -2, 10]
    assert there.both(Presence(((5, 25),))).spans == ((5, 10), (20, 25))
