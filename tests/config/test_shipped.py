"""The topologies that come with the package."""

import re

import pytest

from config.loading import parse_topology
from config.shipped import shipped_names, shipped_text
from config.topology import Topology


def test_names() -> None:
    assert shipped_names() == ("default", "city", "external", "mixed")
    with pytest.raises(KeyError):
        shipped_text("../setup")


@pytest.mark.parametrize("name", shipped_names())
def test_each_loads_is_commented_and_tells_editors_its_schema(name: str) -> None:
    text = shipped_text(name)
    assert parse_topology(text, name).substations
    assert text.startswith("# ")
    assert "\n# yaml-language-server: $schema=gridctl.schema.json\n" in text
    assert max(map(len, text.splitlines())) <= 120


def test_default_is_the_built_in_one() -> None:
    assert parse_topology(shipped_text("default"), "default.yaml") == Topology()


def test_default_still_loads_with_everything_that_is_commented_out() -> None:
    body = shipped_text("default").partition("$schema=")[2].partition("\n")[2]
    everything = re.sub(r"^( *)# (?=( |- )*[a-z_]+: )", r"\1", body, flags=re.MULTILINE)
    topology = parse_topology(everything, "default.yaml")
    assert (topology.name, topology.balancer.port, topology.defaults.capacity_kw) == ("city", 8081, 74)
    assert (topology.substations[0].port, topology.substations[3].load_metric) == (9001, "current_load")


def test_city_and_mixed() -> None:
    city = parse_topology(shipped_text("city"), "city.yaml")
    assert len(city.substations) == 100
    assert city.name == "city"
    mixed = parse_topology(shipped_text("mixed"), "mixed.yaml").substations
    assert len({entry.capacity_kw for entry in mixed}) > 3
    assert len({entry.power_kw for entry in mixed}) > 3
    assert all(entry.capacity_kw for entry in (*city.substations, *mixed))


def test_external() -> None:
    kinds = [entry.url is not None for entry in parse_topology(shipped_text("external"), "").substations]
    assert kinds == [False, False, True]
