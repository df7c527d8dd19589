"""A plug-in that misbehaves costs no request."""

from __future__ import annotations

import logging
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from services.routing.fleet import Fleet, Want
from services.routing.guard import Guarded
from services.routing.node import Node
from services.routing.policy import Policy

FULL, FREE = Node("full", 0, 1, sessions=1), Node("free", 1, 1)


class Plugin(Policy):
    """Answers what `answer` does."""

    summary, tries, blind = "Anything.", 3, True

    def __init__(self, answer: Callable[[Fleet], Any]) -> None:
        self._answer = answer

    def pick(self, fleet: Fleet, want: Want, rng: Random) -> Any:
        return self._answer(fleet)


def divide(fleet: Fleet) -> float:
    return 1 / 0


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (divide, "raised ZeroDivisionError: division by zero"),
        (lambda _: FULL, "picked one that must not be asked"),
        (lambda _: "free", "picked one that must not be asked"),
        (lambda _: None, "picked nobody, though some may be asked"),
    ],
)
def test_the_default_picks_instead_and_it_is_said_once(
    answer: Callable[[Fleet], Any], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    policy = Guarded("odd", Plugin(answer))
    fleet = Fleet([FULL, FREE])
    with caplog.at_level(logging.ERROR):
        picks = [policy.pick(fleet, Want(1, {"full"}), Random(0)) for _ in range(3)]
    assert picks == [FREE, FREE, FREE]
    assert [(record.message, vars(record)["policy"], vars(record)["detail"]) for record in caplog.records] == [
        ("policy is broken", "odd", told)
    ]


def test_one_that_behaves_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    policy = Guarded("good", Plugin(lambda fleet: next((node for node in fleet if node.fits(1)), None)))
    assert (policy.summary, policy.tries, policy.blind) == ("Anything.", 3, True)
    assert policy.pick(Fleet([FULL, FREE]), Want(1), Random(0)) is FREE
    assert policy.pick(Fleet([FULL]), Want(1, {"full"}), Random(0)) is None
    assert caplog.records == []
