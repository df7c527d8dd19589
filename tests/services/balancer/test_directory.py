"""Who is behind a name, whatever DNS says, however containers come, go, and take each other's addresses."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.balancer.directory import GONE_S, PATIENCE_S, STARTING_S, Directory, Introduction
from services.balancer.targets import Target

A, B, C = "http://10.0.0.1:9001", "http://10.0.0.2:9001", "http://10.0.0.3:9001"
ROUND_S = 2.0


class Town:
    """Processes at addresses, a DNS that gives some of them, and a directory that looks every `ROUND_S`."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.living: dict[str, Introduction] = {}
        self.drains: set[str] = set()
        self.found: dict[str, str] = {}
        self.directory = Directory(self._is_doubtful, self.drains.__contains__)

    def _is_doubtful(self, name: str) -> bool:
        """A substation that is not where it was believed does not answer by its name there: its polls are missed."""
        at = self.living.get(self.found.get(name, ""))
        return at is None or at.name != name

    def look(self, *urls: str, wait_s: float = ROUND_S) -> dict[str, str]:
        """One round in which DNS gives `urls`; the substations by name."""
        self.now_s += wait_s
        self.directory.resolved(urls, self.now_s)
        for url in self.directory.to_ask():
            self.directory.told(url, self.living.get(url, "connection refused"))
        self.found = {target.name: target.url for target in self.directory.settle(self.now_s)}
        return self.found

    def live(self, **urls: str) -> None:
        """These run from now on, each in a process of its own."""
        for name, url in urls.items():
            self.living[url] = Introduction(name, "substation", epoch=hash((name, url, self.now_s)) & 0xFFFF)


@pytest.fixture
def town() -> Town:
    return Town()


def test_one_that_appears_is_a_target_once_it_said_its_name(town: Town) -> None:
    assert town.look(A, B) == {}
    town.live(s1=A)
    assert town.look(A, B) == {"s1": A}
    town.live(s2=B)
    assert town.look(A, B) == {"s1": A, "s2": B}
    assert town.directory.settle(town.now_s)[0] == Target("s1", A, learned=True)


def test_who_is_known_is_not_asked_again(town: Town) -> None:
    town.live(s1=A, s2=B)
    town.look(A, B)
    assert town.directory.to_ask() == []


@pytest.mark.parametrize(("name", "role"), [("s1", "balancer"), ("../x", "substation"), ("", "substation")])
def test_what_is_no_substation_is_none(town: Town, name: str, role: str, caplog: pytest.LogCaptureFixture) -> None:
    town.living[A] = Introduction(name, role)
    assert town.look(A) == {}
    assert caplog.text == "", "it may be starting"
    for _ in range(2):
        assert town.look(A, wait_s=STARTING_S) == {}
    assert caplog.text.count("not known who this is") == 1
    town.live(s1=A)
    assert town.look(A) == {"s1": A}


def test_one_that_left_stays_for_a_moment_in_which_it_may_be_back(town: Town) -> None:
    town.live(s1=A, s2=B)
    town.look(A, B)
    del town.living[B]
    assert town.look(A) == {"s1": A, "s2": B}
    town.live(s2=B)
    assert town.look(A, B) == {"s1": A, "s2": B}
    del town.living[B]
    assert town.look(A) == {"s1": A, "s2": B}
    assert town.look(A, wait_s=GONE_S) == {"s1": A}


def test_one_that_restarted_at_another_address_moves_at_once(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    town.live(s1=A, s2=B)
    town.look(A, B)
    town.living[C] = town.living.pop(B)
    assert town.look(A, C) == {"s1": A, "s2": C}
    assert "moved" in caplog.text
    assert town.look(A, B, C) == {"s1": A, "s2": C}, "DNS may still give the old one: nobody is there"


def test_addresses_that_were_swapped(town: Town) -> None:
    town.live(s1=A, s2=B)
    town.look(A, B)
    town.live(s2=A, s1=B)
    assert town.look(A, B) == {"s1": B, "s2": A}


def test_an_address_that_somebody_else_got(town: Town) -> None:
    town.live(s1=A, s2=B)
    town.look(A, B)
    del town.living[B]
    town.live(s9=B)
    assert town.look(A, B) == {"s1": A, "s9": B}


def test_two_that_bear_one_name_are_said_once_and_the_first_stays(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    town.live(s1=A)
    town.look(A)
    town.live(s1=C)
    town.live(s1=B)
    for _ in range(3):
        assert town.look(A, B, C) == {"s1": A}
    assert caplog.text.count("several bear one name") == 1
    del town.living[A]
    assert town.look(A, B, C) == {"s1": B}


def test_one_process_behind_two_addresses_is_no_conflict(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    six = "http://[fd00::1]:9001"
    town.living[A] = town.living[six] = Introduction("s1", "substation", 7)
    assert town.look(A, six) == {"s1": A}
    assert caplog.text == ""


def test_where_dns_fails_nobody_leaves_but_in_the_end_who_is_silent(town: Town) -> None:
    town.live(s1=A, s2=B)
    town.look(A, B)
    del town.living[B]
    assert town.look(wait_s=PATIENCE_S - 1) == {"s1": A, "s2": B}
    assert town.look(wait_s=1) == {"s1": A}
    town.live(s2=B)
    assert town.look(A, B) == {"s1": A, "s2": B}


def test_one_that_drains_stays_without_dns_until_it_is_silent(town: Town) -> None:
    town.live(s1=A, s2=B)
    town.look(A, B)
    town.drains.add("s2")
    for _ in range(20):
        assert town.look(A) == {"s1": A, "s2": B}
    del town.living[B]
    assert town.look(A) == {"s1": A}


URLS = [f"http://10.0.0.{number}:9001" for number in range(5)]
PEOPLE = st.dictionaries(st.sampled_from(URLS), st.sampled_from(["s1", "s2", "s3", "s4", "../x"]))
ROUNDS = st.lists(st.tuples(st.sets(st.sampled_from(URLS)), PEOPLE, st.floats(0.1, 90)), max_size=12)


@given(ROUNDS)
def test_whatever_happens(rounds: list[tuple[set[str], Mapping[str, str], float]]) -> None:
    town = Town()
    given_s: dict[str, float] = {}
    good_s, good = 0.0, set[str]()  # when DNS gave anything last, and what: who was not among it may leave meanwhile
    said: dict[str, str] = {}
    for urls, people, wait_s in rounds:
        before = town.found
        town.living = {url: Introduction(name, "substation", index) for index, (url, name) in enumerate(people.items())}
        found = town.look(*urls, wait_s=wait_s)
        good_s, good = (town.now_s, urls) if urls else (good_s, good)
        given_s.update(dict.fromkeys(urls, town.now_s))
        said.update({url: people[url] for url in given_s if url in people and people[url] != "../x"})
        assert len(set(found.values())) == len(found), "no address is two substations"
        for name, url in found.items():
            assert said[url] == name or people.get(url) == "../x", "nobody else gave it its name"
            assert town.now_s - given_s[url] < GONE_S or not urls or people.get(url) == name
        if urls:
            assert all(town.now_s - given_s[url] < GONE_S for url in found.values())
        elif town.now_s - good_s < PATIENCE_S:
            there = [name for name, url in before.items() if url in good and people.get(url, name) == name]
            assert set(there) <= set(found), "a DNS that fails takes nobody away"
        here = [people[url] for url in urls if url in people and people[url] != "../x"]
        assert set(here) <= set(found), "who lives and is given is found"
        for url in urls:
            if url in people and people[url] != "../x" and here.count(people[url]) == 1:
                assert found[people[url]] == url
