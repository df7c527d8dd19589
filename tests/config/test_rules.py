"""What must hold between the keys of a topology."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from config.loading import parse_topology
from config.names import RESERVED
from config.rules import breaks, key_of, loopback_port
from config.topology import Topology
from tests.config.faults import lines_and_keys, only_fault

REQUEST_SERVICE = "`request_service.port` (8080 unless it is set)"
BALANCER = "`balancer.port` (8081 unless it is set)"


def test_key_of() -> None:
    assert key_of(("substations", 2, "port")) == "substations[2].port"
    assert key_of(("name",)) == "name"
    assert key_of(()) == "(top)"


@pytest.mark.parametrize("name", [*sorted(RESERVED), "Balancer", "balancer2", "charge-request2"])
def test_reserved_names(name: str) -> None:
    fault = only_fault(f"substations:\n  - name: a\n  - name: {name}\n")
    assert (fault.line, fault.key, fault.found) == (3, "substations[1].name", f"the reserved name {name!r}")
    taken = "balancer, charge-request, grafana, prometheus, supervisor, zygote, balancerN, charge-requestN"
    assert fault.allowed == f"any name but {taken}"


def test_reserved_names_are_those_of_our_files() -> None:
    assert {"balancer", "charge-request", "grafana", "prometheus", "supervisor", "zygote"} == RESERVED


def test_duplicate_names() -> None:
    fault = only_fault("substations:\n  - name: a\n  - name: b\n  - name: a\n")
    assert (fault.line, fault.key) == (4, "substations[2].name")
    assert fault.found == "'a', the name of substations[0] already"


def test_names_that_differ_only_in_case() -> None:
    assert "as 'North': names become files" in only_fault("substations: [{name: North}, {name: north}]").found


@pytest.mark.parametrize(
    ("text", "line", "key", "holder"),
    [
        (
            "substations:\n- {name: a, port: 9001}\n- {name: b, port: 9001}",
            3,
            "substations[1].port",
            "`substations[0].port`",
        ),
        ("balancer: {port: 9}\nsubstations:\n- {name: a, port: 9}", 3, "substations[0].port", BALANCER),
        ("request_service: {port: 9}\nbalancer: {port: 9}", 2, "balancer.port", REQUEST_SERVICE),
        ("substations:\n- {name: a, port: 8080}", 2, "substations[0].port", REQUEST_SERVICE),
        ("substations:\n- {name: a, port: 8081}", 2, "substations[0].port", BALANCER),
        ("balancer: {port: 8080}", 1, "balancer.port", REQUEST_SERVICE),
        ("request_service: {port: 8081}", 1, "request_service.port", BALANCER),
        ("substations:\n- {name: e, url: 'http://localhost:8081'}", 2, "substations[0].url", BALANCER),
        (
            "substations:\n- {name: e, url: 'http://[::1]:9005/x'}\n- {name: a, port: 9005}",
            2,
            "substations[0].url",
            "`substations[1].port`",
        ),
    ],
)
def test_ports_that_collide(text: str, line: int, key: str, holder: str) -> None:
    fault = only_fault(text)
    assert (fault.line, fault.key) == (line, key)
    assert fault.found.endswith(f"taken by {holder}")


@pytest.mark.parametrize(
    "text",
    [
        "request_service: {port: 8081}\nbalancer: {port: 8080}",
        "request_service: {port: 9001}",
        "substations: [{name: a, port: 8080}]\nrequest_service: {port: 80}",
        "substations: [{name: e, url: 'http://example.org:8080'}]",
        "substations: [{name: e, url: 'http://h:1/a'}, {name: f, url: 'http://h:1/b'}]",
        "substations: [{name: e, url: 'https://h:443/', load_metric: 'ns:load', max_sessions: 4, capacity_kw: 7}]",
        "substations: [{name: e, url: null, port: 9001}]",
    ],
)
def test_what_is_no_collision(text: str) -> None:
    assert parse_topology(text, "grid.yaml")


def test_a_gauge_needs_a_url() -> None:
    fault = only_fault("substations:\n  - name: a\n    load_metric: x\n")
    assert (fault.line, fault.key, fault.found) == (3, "substations[0].load_metric", "a gauge without `url`")


@pytest.mark.parametrize("key", ["port", "session_s", "power_kw"])
def test_what_makes_no_sense_beside_a_url(key: str) -> None:
    fault = only_fault(f"substations:\n  - name: e\n    {key}: 5\n    url: http://h:80\n")
    assert (fault.line, fault.key, fault.found) == (3, f"substations[0].{key}", f"`{key}` beside `url`")


@pytest.mark.parametrize("url", ["http://h:0", "http://h:65536", "http://h:99999/x"])
def test_a_url_with_an_impossible_port(url: str) -> None:
    fault = only_fault(f"substations: [{{name: e, url: '{url}'}}]")
    assert fault.found == f"{url!r}, whose port is no port"


@pytest.mark.parametrize(
    "url", ["h:80", "http://h", "http://u:p@h:80", "http://h:80?x=1", "http://h:80/#a", "http://h h:80", ""]
)
def test_urls_that_are_none(url: str) -> None:
    assert lines_and_keys(f"substations: [{{name: e, url: '{url}'}}]") == [(1, "substations[0].url")]


def test_the_same_service_twice() -> None:
    fault = only_fault("substations:\n  - {name: e, url: 'http://h:80'}\n  - {name: f, url: 'http://h:80/'}\n")
    assert (fault.line, fault.key, fault.found) == (3, "substations[1].url", "the URL of substations[0] again")


def test_rules_and_fields_are_reported_together() -> None:
    text = "substations:\n  - {name: a, port: 9001}\n  - {name: a, port: 9001, max_sessions: 0, x: 1}\n"
    assert lines_and_keys(text) == [
        (3, "substations[1].name"),
        (3, "substations[1].port"),
        (3, "substations[1].max_sessions"),
        (3, "substations[1].x"),
    ]


def test_a_topology_cannot_be_built_against_the_rules() -> None:
    with pytest.raises(ValidationError, match=r"substations\[1\]\.name: found 'a'"):
        Topology.model_validate({"substations": [{"name": "a"}, {"name": "a"}]})


def test_loopback_ports() -> None:
    assert loopback_port("http://127.0.0.1:7601/x") == 7601
    assert loopback_port("http://example.org:7601") is None
    assert loopback_port("http://localhost:x") is None
    assert loopback_port(None) is None


junk = st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
entries = st.dictionaries(st.sampled_from(["name", "port", "url", "load_metric"]), junk, max_size=4)


@given(
    st.dictionaries(
        st.sampled_from(["balancer", "request_service", "substations"]),
        junk | entries | st.lists(junk | entries, max_size=4),
    )
)
def test_wrong_values_are_passed_over(values: dict[str, object]) -> None:
    assert isinstance(breaks(values), list)


def test_the_ports_of_what_watches_the_grid_count_while_it_is_wanted() -> None:
    text = "monitoring: {{prometheus: {on}, prometheus_port: 8080}}\n"
    fault = only_fault(text.format(on="true"))
    assert (fault.line, fault.key) == (1, "monitoring.prometheus_port")
    assert fault.found == "port 8080, taken by `request_service.port` (8080 unless it is set)"
    assert parse_topology(text.format(on="false"), "grid.yaml").monitoring.prometheus_port == 8080
    fault = only_fault("monitoring: {grafana: true, grafana_port: 9000}\nsubstations:\n  - {name: a, port: 9000}\n")
    assert (fault.line, fault.key) == (3, "substations[0].port")
