"""The topology as an object: frozen, and scaled without losing what is declared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from config.topology import Substation, Topology, numbered, spell_out

entries = st.lists(
    st.sampled_from(["a", "b", "Substation2", "substation1", "substation3", "substation9"]), unique=True
).flatmap(lambda names: st.tuples(*(st.tuples(st.just(name), st.booleans()) for name in names)))


def test_the_default() -> None:
    assert [entry.name for entry in Topology().substations] == ["substation1", "substation2", "substation3"]
    assert (Topology().defaults.max_sessions, Topology().defaults.session_s) == (10, 30)
    assert Topology().balancer.poll_interval_s == 5


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Topology().time_scale = 2  # type: ignore[misc]


def test_spelling_out() -> None:
    assert spell_out(2) == numbered(2) == [{"name": "substation1"}, {"name": "substation2"}]
    others: tuple[object, ...] = (True, -1, 10_001, "2", None, [])
    for other in others:
        assert spell_out(other) is other


@given(entries, st.integers(0, 12))
def test_scaling(listed: tuple[tuple[str, bool], ...], count: int) -> None:
    substations = tuple(
        Substation(name=name, url=f"http://h:{index + 1}" if external else None)
        for index, (name, external) in enumerate(listed)
    )
    scaled = Topology(substations=substations).with_substations(count)
    own = [entry for entry in scaled.substations if entry.url is None]
    before = [entry for entry in substations if entry.url is None]
    assert len(own) == count
    assert own[: len(before)] == before[:count]
    assert [e for e in scaled.substations if e.url] == [e for e in substations if e.url]
    assert Topology.model_validate(scaled.model_dump()) == scaled


def test_new_ones_take_the_lowest_free_names() -> None:
    topology = Topology(substations=(Substation(name="substation2"), Substation(name="x", url="http://h:1")))
    assert [entry.name for entry in topology.with_substations(3).substations] == [
        "substation2",
        "substation1",
        "substation3",
        "x",
    ]
