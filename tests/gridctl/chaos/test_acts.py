"""Each kind of fault does what it says and leaves nothing behind, also when it is cut short."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from gridctl.chaos import acts
from gridctl.chaos.acts import GONE, perform
from gridctl.chaos.census import Person
from gridctl.chaos.timeline import KINDS, Step
from tests.services.grid import until


class Reach:
    """A cluster that is a list of names; what was done to it is in `done`. A killed process is back at the next look."""

    def __init__(self, *names: str) -> None:
        self.people = {name: Person(number, "first") for number, name in enumerate(names, 100)}
        self.done: list[tuple[Any, ...]] = []
        self.frozen: set[Person] = set()
        self.faults: dict[str, float] = {}
        self.unwell = 0

    async def find(self, name: str) -> Person | None:
        await asyncio.sleep(0)
        return self.people.get(name)

    def kill(self, person: Person) -> bool:
        self.done.append(("kill", person))
        for name, each in self.people.items():
            if each == person:
                self.people[name] = Person(person.pid, "next")
                self.unwell = 2
                return True
        return False

    def freeze(self, person: Person) -> bool:
        if person not in self.people.values():
            return False
        self.done.append(("freeze", person))
        self.frozen.add(person)
        return True

    def wake(self, person: Person) -> bool:
        self.done.append(("wake", person))
        self.frozen.discard(person)
        return person in self.people.values()

    async def order(self, verb: str, **args: Any) -> str:
        await asyncio.sleep(0)
        self.done.append((verb, args))
        if verb == "faults":
            self.faults |= {key: value for key, value in args.items() if key.endswith(("_pct", "delay_s"))}
        return ""

    async def well(self, name: str) -> bool:
        self.unwell -= 1
        return self.unwell < 0

    async def revive(self, old: Person | None) -> str:
        await asyncio.sleep(0)
        self.done.append(("revive", old))
        return ""


def step(kind: str, target: str = "balancer", for_s: float = 0.05) -> Step:
    return Step(0.0, kind, target, for_s, pct=2.0, by_s=1.5)


async def test_a_killed_process_is_seen_through_until_another_is_ready() -> None:
    reach = Reach("balancer")
    assert await perform(step("kill"), reach) == ""
    assert reach.done == [("kill", Person(100, "first"))]
    assert reach.unwell < 0


async def test_a_killed_zygote_is_back_as_soon_as_there_is_another() -> None:
    reach = Reach("zygote")
    assert await perform(step("kill", "zygote"), reach) == ""
    assert reach.unwell == 2


async def test_a_killed_supervisor_is_revived() -> None:
    reach = Reach("supervisor")
    assert await perform(step("kill", "supervisor"), reach) == ""
    assert reach.done == [("kill", Person(100, "first")), ("revive", Person(100, "first"))]


async def test_a_pause_freezes_and_wakes() -> None:
    reach = Reach("balancer")
    began_s = time.monotonic()
    assert await perform(step("pause"), reach) == ""
    assert time.monotonic() - began_s >= 0.05
    assert [verb for verb, _ in reach.done] == ["freeze", "wake"]


async def test_slow_is_frozen_and_awake_in_turn() -> None:
    reach = Reach("balancer")
    assert await perform(step("slow", for_s=2.5 * 2 * acts.PULSE_S), reach) == ""
    verbs = [verb for verb, _ in reach.done]
    assert verbs[:6] == ["freeze", "wake"] * 3
    assert not reach.frozen


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [("drop", "drop_pct", 2.0), ("duplicate", "duplicate_pct", 2.0), ("delay", "delay_s", 1.5)],
)
async def test_faults_of_replies_are_ordered_for_a_bounded_time_and_lifted(kind: str, field: str, value: float) -> None:
    reach = Reach("balancer")
    assert await perform(step(kind), reach) == ""
    first, *_, last = (args for verb, args in reach.done if verb == "faults")
    assert first["names"] == ["balancer"]
    assert first[field] == value
    assert 0 < first["for_s"] <= acts.HOLD_S
    assert last == {"names": ["balancer"], field: 0}


async def test_a_restart_is_the_supervisors() -> None:
    reach = Reach("balancer")
    assert await perform(step("restart"), reach) == ""
    assert reach.done == [("restart", {"names": ["balancer"]})]


@pytest.mark.parametrize("kind", ["kill", "pause", "slow"])
async def test_who_is_not_there_is_left_alone(kind: str) -> None:
    reach = Reach("substation1")
    assert await perform(step(kind), reach) == GONE
    assert reach.done == []


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_a_fault_that_is_cut_short_leaves_nothing_behind(kind: str) -> None:
    reach = Reach("balancer")
    reach.unwell = 1_000_000
    acting = asyncio.ensure_future(perform(step(kind, for_s=600.0), reach))
    await until(lambda: bool(reach.done))
    acting.cancel()
    await asyncio.wait({acting})
    assert not reach.frozen
    assert not any(reach.faults.values())


async def test_a_process_that_ends_while_it_is_paused_is_no_trouble() -> None:
    reach = Reach("balancer")
    acting = asyncio.ensure_future(perform(step("pause", for_s=0.2), reach))
    await until(lambda: bool(reach.frozen))
    reach.people["balancer"] = Person(7, "another")
    assert await acting == "it ended while it was paused"
