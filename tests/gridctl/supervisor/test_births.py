"""Exits and births in any order: each is told to whom it belongs, and nothing is kept for nobody."""

from __future__ import annotations

from gridctl.supervisor.births import Births


def test_an_exit_belongs_to_who_was_born_with_that_pid_and_only_once() -> None:
    births = Births()
    births.expect()
    assert births.born(7, "a") is None
    assert births.ended(7, -9) == "a"
    assert births.ended(7, -9) is None


def test_one_that_ended_before_its_birth_was_known_is_told_apart() -> None:
    births = Births()
    births.expect()
    assert births.ended(7, 1) is None
    assert births.born(7, "a") == 1
    assert births.ended(7, 1) is None


def test_strangers_are_forgotten_once_nobody_is_expected() -> None:
    births = Births()
    assert births.ended(7, 0) is None
    births.expect()
    assert births.ended(8, 0) is None
    births.missed()
    births.expect()
    assert births.born(7, "a") is None
    births.expect()
    assert births.born(8, "b") is None
