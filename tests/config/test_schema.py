"""The emitted JSON Schema: complete enough for editors, and of one mind with what the loader accepts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pydantic import ValidationError

from config.errors import Invalid
from config.loading import parse_topology
from config.names import is_name
from config.rules import breaks
from config.schema import allowed, keys_at, sections, subschema, topology_schema
from config.shipped import shipped_names, shipped_text
from config.topology import Topology, spell_out

VALIDATOR = Draft202012Validator(topology_schema())


def test_it_is_a_schema_with_a_title() -> None:
    schema = topology_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "gridctl topology"
    assert json.loads(json.dumps(schema)) == schema


def test_every_object_is_closed_and_every_property_described_with_examples_or_keys() -> None:
    schema = topology_schema()
    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False
        assert part["description"]
        for key, entry in part["properties"].items():
            assert entry["description"], key
            assert "title" not in entry
            assert "examples" in entry or "anyOf" in entry, key


def test_the_committed_schema_is_current() -> None:
    committed = Path(__file__).parents[2] / "config" / "gridctl.schema.json"
    assert json.loads(committed.read_text()) == topology_schema(), (
        "gridctl topology schema > config/gridctl.schema.json"
    )


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_topologies_fit(name: str) -> None:
    VALIDATOR.validate(yaml.safe_load(shipped_text(name)))


@pytest.mark.parametrize("values", [{}, {"substations": 3}, {"substations": 0}, {"balancer": None, "defaults": None}])
def test_short_forms_fit(values: dict[str, Any]) -> None:
    VALIDATOR.validate(values)


@pytest.mark.parametrize(
    "values",
    [
        [],
        None,
        {"nam": "x"},
        {"name": ".x"},
        {"name": 3},
        {"time_scale": 0},
        {"time_scale": "1"},
        {"substations": -1},
        {"substations": 10_001},
        {"substations": True},
        {"substations": None},
        {"substations": ["a"]},
        {"substations": [{}]},
        {"substations": [{"name": "balancer"}]},
        {"substations": [{"name": "balancer2"}]},
        {"substations": [{"name": "a", "port": 0}]},
        {"substations": [{"name": "a", "max_sessions": 1.5}]},
        {"substations": [{"name": "a", "url": "ftp://h:1"}]},
        {"substations": [{"name": "a", "url": "http://h:1", "port": 9001}]},
        {"substations": [{"name": "a", "load_metric": "x"}]},
        {"balancer": {"policy": "best"}},
        {"balancer": {"polcy": "random"}},
        {"balancer": {"replicas": 0}},
        {"balancer": {"replicas": True}},
        {"balancer": {"admission": "wait"}},
        {"balancer": {"queue_limit": 0}},
        {"balancer": {"max_wait_s": "600"}},
        {"durability": "none"},
        {"defaults": {"hard_limit": 1}},
        {"request_service": {"request_timeout_s": 0}},
        {"defaults": {"power_kw": 0}},
    ],
)
def test_bad_ones_do_not_fit(values: object) -> None:
    assert not VALIDATOR.is_valid(values)
    with pytest.raises(ValidationError):
        Topology.model_validate(values)


names = st.sampled_from(["a", "b", "substation1", "balancer", ".x", "a b", "", "x" * 65])
numbers = st.sampled_from([-1, 0, 0.0005, 0.5, 1, 7.4, 80, 9001, 65536, 10**7, 10**10, True, "5", None])
urls = st.sampled_from(["http://h:80", "https://h:8443/x", "h:80", "http://h", None, 3])
parts = {
    "request_service": st.dictionaries(st.sampled_from(["port", "request_timeout_s", "x"]), numbers, max_size=2),
    "balancer": st.dictionaries(
        st.sampled_from(["port", "poll_interval_s", "replicas", "queue_limit"]), numbers, max_size=2
    ),
    "defaults": st.dictionaries(
        st.sampled_from(["max_sessions", "capacity_kw", "session_s", "power_kw"]), numbers, max_size=3
    ),
}
limits = st.dictionaries(st.sampled_from(["port", "max_sessions", "capacity_kw", "session_s"]), numbers, max_size=2)
outside = st.fixed_dictionaries({}, optional={"url": urls, "load_metric": st.sampled_from(["load", "1x", None])})
substation = st.tuples(st.fixed_dictionaries({}, optional={"name": names}), limits, outside).map(
    lambda three: {**three[0], **three[1], **three[2]}
)
topologies = st.fixed_dictionaries(
    {},
    optional={
        "name": names,
        "time_scale": numbers,
        **{key: part | st.none() for key, part in parts.items()},
        "substations": st.lists(substation, max_size=3) | numbers,
    },
)


@given(topologies)
def test_schema_and_loader_agree(values: dict[str, Any]) -> None:
    """Where no rule between keys is broken (the schema cannot say those), both accept or both refuse."""
    spelled = {**values, "substations": spell_out(values.get("substations"))}
    single = [each for each in breaks(spelled) if "reserved" not in each.found and "url" not in each.allowed]
    assume(not single)
    try:
        Topology.model_validate(values)
    except ValidationError:
        assert not VALIDATOR.is_valid(values)
    else:
        VALIDATOR.validate(values)


@given(st.text(max_size=70).filter(lambda text: not text.endswith("\n")))
def test_names_agree(text: str) -> None:
    assert VALIDATOR.is_valid({"name": text}) == is_name(text)


def test_subschemas() -> None:
    assert keys_at(("balancer",))[:3] == ["port", "policy", "poll_interval_s"]
    assert keys_at(("substations", 7))[:2] == ["name", "port"]
    assert keys_at(("name",)) == []
    assert keys_at(("nowhere", "x")) == []
    assert subschema(("nowhere",)) is None
    assert set(sections()) == {"request_service", "balancer", "defaults", "monitoring", "substations[]"}
    assert allowed(("balancer", "port")) == "a whole number from 1 to 65535"


#: How what may stand somewhere begins, by its type in the schema.
WORDS = {
    "boolean": "true or false",
    "integer": "a whole number from ",
    "number": "a number from ",
    "string": ("a text", "a name: ", "http://", "the name of a Prometheus metric"),
    "array": "a list of at most 10000 substations",
    "object": "a mapping with the keys ",
}


def _places(path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every path at which something may stand in a topology."""
    yield path
    for key in keys_at(path):
        yield from _places((*path, key))
    if path == ("substations",):
        yield from _places((*path, 0))


def test_each_place_of_whatever_type_says_what_may_stand_there() -> None:
    seen = set()
    for path in _places():
        schema = subschema(path) or {}
        options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
        words = allowed(path)
        assert words == words.strip(), path
        for option in options:
            if "enum" in option:
                assert "one of " in words
            elif "type" in option:
                starts = WORDS[option["type"]]
                assert any(start in words for start in ([starts] if isinstance(starts, str) else starts)), (path, words)
                seen.add(option["type"])
    assert seen == WORDS.keys()
    with pytest.raises(Invalid) as caught:
        parse_topology("monitoring: {prometheus: maybe}", "grid.yaml")
    assert [fault.allowed for fault in caught.value.faults] == ["true or false"]
