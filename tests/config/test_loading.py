"""From a text or a file to a topology, or to all its faults in file order (each kind of fault: test_faults.py)."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from config.errors import Invalid
from config.loading import load_topology, parse_topology
from config.topology import Substation, Topology
from tests.config.faults import faults_of, invalid_of, lines_and_keys


def test_all_faults_in_file_order() -> None:
    text = """\
substations:
  - {power_kw: -1, name: a b, port: 70000}
  - name: balancer
    max_session: 4
  - max_sessions: 1.5
balancer:
  port: x
  port: 3
time_scale: 10:30
nam: x
"""
    assert lines_and_keys(text) == [
        (2, "substations[0].power_kw"),
        (2, "substations[0].name"),
        (2, "substations[0].port"),
        (3, "substations[1].name"),
        (4, "substations[1].max_session"),
        (5, "substations[2].name"),
        (5, "substations[2].max_sessions"),
        (7, "balancer.port"),
        (8, "balancer.port"),
        (9, "time_scale"),
        (10, "nam"),
    ]


def test_message_and_hint() -> None:
    with pytest.raises(Invalid) as caught:
        parse_topology("a: 1\nb: 2\n", "grid.yaml")
    assert caught.value.message == "grid.yaml is no valid topology: 2 faults"
    assert caught.value.hint == "Nothing was changed."
    assert str(caught.value.faults[0]).startswith("grid.yaml:1: a: found an unknown key; allowed: name, ")


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "null", "~", "{}", "balancer:\ndefaults:\nrequest_service:\n"]
)
def test_nothing_declared_is_the_default(text: str) -> None:
    assert parse_topology(text, "grid.yaml") == Topology()


def test_a_number_of_substations() -> None:
    assert [s.name for s in parse_topology("substations: 2", "").substations] == ["substation1", "substation2"]
    assert parse_topology("substations: 0", "").substations == ()
    assert parse_topology("substations: []", "").substations == ()
    assert len(parse_topology("substations: 10000", "").substations) == 10_000


def test_anchors_and_merges() -> None:
    text = """\
substations:
  - &big {name: a, max_sessions: 20, power_kw: 22}
  - &slow {name: b, power_kw: 3.7}
  - {<<: *big, name: c}
  - {<<: [*slow, *big], name: d}
"""
    assert parse_topology(text, "").substations[2:] == (
        Substation(name="c", max_sessions=20, power_kw=22),
        Substation(name="d", max_sessions=20, power_kw=3.7),
    )
    assert lines_and_keys(text + "  - {<<: *big, name: d}\n  - {<<: *big, <<: *slow, name: e}\n") == [
        (6, "substations[4].name"),
        (7, "substations[5].<<"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "&a {balancer: *a}",
        "&a {<<: *a}",
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)),
        "- &a {x: 1}\n"
        + "".join(f"- &{c} {{<<: [{','.join(['*' + p] * 9)}]}}\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)),
    ],
)
def test_alias_bombs_end_early(text: str) -> None:
    (fault,) = faults_of(lambda: parse_topology(text, "grid.yaml"))
    assert "an alias that holds itself" in fault.found
    assert fault.line > 0


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text("name: city\nbalancer: {port: 0}\n")
    (fault,) = faults_of(lambda: load_topology(file))
    assert (fault.where, fault.line) == (str(file), 2)
    file.write_text("name: city\n")
    assert load_topology(file) == Topology(name="city")
    assert load_topology(None) == Topology()
    assert faults_of(lambda: load_topology(tmp_path / "none.yaml"))


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
keys = st.sampled_from(["name", "port", "balancer", "defaults", "substations", "url", "max_sessions", "x"])
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


@given(st.dictionaries(keys, trees, max_size=4))
def test_any_mapping_is_a_topology_or_has_faults_with_lines(values: dict[str, object]) -> None:
    invalid = invalid_of(lambda: parse_topology(yaml.safe_dump(values), "grid.yaml"))
    faults = [] if invalid is None else list(invalid.faults)
    assert all(fault.line > 0 and fault.found and fault.allowed for fault in faults)
    assert faults == sorted(faults, key=lambda fault: fault.line)
    assert len(set(faults)) == len(faults)


@given(st.text("abc:-[]{}&*!<|>'\"#\n ,?1e.", max_size=60))
def test_any_text_is_a_topology_or_invalid(text: str) -> None:
    invalid = invalid_of(lambda: parse_topology(text, "grid.yaml"))
    assert invalid is None or invalid.faults
