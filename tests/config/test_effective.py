"""A topology with every default filled in is a topology that comes to the same."""

import dataclasses

from hypothesis import given

from config.effective import effective, summary
from config.plan import ProcessSpec, launched
from config.topology import Topology
from tests.config.test_plan import topologies


@given(topologies())
def test_it_loads_again_and_comes_to_the_same(topology: Topology) -> None:
    values = effective(topology, "city")
    again = Topology.model_validate(values)
    assert _unfixed(launched(topology, "t", "d")) == _unfixed(launched(again, "t", "d"))
    assert effective(again, "city") == values
    assert summary(again) == summary(topology)


def _unfixed(specs: tuple[ProcessSpec, ...]) -> list[ProcessSpec]:
    return [dataclasses.replace(spec, port_fixed=False) for spec in specs]


def test_every_default_is_filled_in() -> None:
    values = effective(
        Topology.model_validate({"substations": [{"name": "a"}, {"name": "e", "url": "http://h:1"}]}), "x"
    )
    assert values["name"] == "x"
    assert values["request_service"] == {"port": 8080, "request_timeout_s": 10, "workers": 1}
    assert values["durability"] == "fsync"
    queue = {"admission": "reject", "queue_limit": 10_000, "max_wait_s": 600}
    assert values["balancer"] == {"port": 8081, "policy": "ledger", "poll_interval_s": 5, "replicas": 1, **queue}
    off = {"prometheus": False, "prometheus_port": None, "grafana": False, "grafana_port": None}
    assert values["monitoring"] == {**off, "scrape_interval_s": 5}
    assert values["substations"] == [
        {"name": "a", "port": 9001, "max_sessions": 10, "capacity_kw": None, "session_s": 30, "power_kw": 7.4},
        {
            "name": "e",
            "url": "http://h:1",
            "load_metric": "substation_current_load",
            "max_sessions": None,
            "capacity_kw": None,
        },
    ]


def test_summaries() -> None:
    limited = {"substations": [{"name": "a", "capacity_kw": 74, "max_sessions": 2000}]}
    assert summary(Topology.model_validate(limited)).startswith("1 substation, 2,000 sessions, 74 kW, policy")
    mixed = {"substations": [{"name": "a", "capacity_kw": 74}, {"name": "b"}, {"name": "e", "url": "http://h:1"}]}
    text = summary(Topology.model_validate(mixed))
    assert text.startswith("2 substations and 1 external, 20 sessions, 74 kW where limited,")
    assert summary(Topology()) == "3 substations, 30 sessions, no kW limit, policy ledger, time_scale 1"
