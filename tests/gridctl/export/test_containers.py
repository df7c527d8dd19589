"""The one list of containers: the plan's processes, told by variables what the launcher tells them by arguments."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import Invalid
from config.loading import parse_topology
from config.names import BALANCER, CHARGE_REQUEST, EXTERNAL, SUBSTATION
from config.plan import expand
from config.settings import BalancerSettings, ChargeRequestSettings, Settings, SubstationSettings
from config.shipped import shipped_names, shipped_text
from config.topology import Topology
from gridctl.export.containers import (
    DATA_FOLDER,
    HOST_GATEWAY,
    TAKEN,
    TARGETS_FILE,
    Container,
    Deployment,
    deployment,
    environment_of,
    host_names,
)
from gridctl.serve.settings import LONGEST_BASE, SETTINGS, Given, settings_of
from tests.config.test_plan import topologies

positive = st.floats(1e-6, 1e9)
names = st.from_regex(r"\A[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}\Z")
urls = st.sampled_from(["http://balancer:8081", "http://[::1]:80", "https://a.example:1"])
many_urls = st.lists(urls, min_size=1, max_size=3).map(tuple)
durability = st.sampled_from(["fsync", "process"])
journals = st.none() | st.sampled_from([f"{DATA_FOLDER}/a b.db"])
common = {"name": names, "time_scale": positive}
of_charging = {"session_s": positive, "power_kw": positive, "journal": journals, "durability": durability}
without_journal = {key: value for key, value in of_charging.items() if key != "journal"}
waits = st.just(0.0) | positive
every_settings = st.one_of(
    st.builds(
        SubstationSettings,
        name=names.filter(lambda name: len(name) <= LONGEST_BASE),
        **without_journal,
        journal_dir=st.just(DATA_FOLDER),
        drain_s=waits,
    ),
    st.builds(
        SubstationSettings,
        **common,
        **of_charging,
        max_sessions=st.integers(1, 10**9),
        capacity_kw=st.none() | positive,
        hard_limit=st.booleans(),
    ),
    st.builds(
        BalancerSettings,
        **common,
        **of_charging,
        poll_interval_s=positive,
        request_timeout_s=positive,
        targets_file=st.just(TARGETS_FILE),
        substations=st.lists(st.sampled_from(["a:1", "b=b:2", "c=http://c:3/x#gauge"]), max_size=2).map(tuple),
        seed=st.none() | st.integers(0, 2**63),
        admission=st.sampled_from(["reject", "queue"]),
        queue_limit=st.integers(1, 10**6),
        max_wait_s=positive,
        peers=st.just(()) | many_urls,
        url=st.just("") | urls,
        replicas=st.lists(names, max_size=3).map(tuple),
        substations_dns=st.none() | st.just("tasks.substation:9001"),
        cluster=st.none() | names,
    ),
    st.builds(ChargeRequestSettings, **common, balancers=many_urls, request_timeout_s=positive),
)
ROLES = {SubstationSettings: SUBSTATION, BalancerSettings: BALANCER, ChargeRequestSettings: CHARGE_REQUEST}


def _served(role: str, environment: dict[str, str]) -> tuple[Settings, str, int]:
    """What `gridctl serve ROLE` makes of an environment: its variables are known by their names only."""
    keys = {setting.variable: setting.key for setting in SETTINGS} | {"HOST": "host", "PORT": "port"}
    return settings_of(
        role, {keys[name]: Given(name, text, by_flag=False) for name, text in environment.items() if name in keys}
    )


def _names(found: Deployment) -> set[str]:
    return {each.name for each in found.containers} | {spec.name for spec in found.externals}


@given(settings=every_settings)
def test_what_an_environment_says_serve_reads_back(settings: Settings) -> None:
    assert _served(ROLES[type(settings)], environment_of(settings))[0] == settings


def test_what_no_variable_can_say_is_refused() -> None:
    with pytest.raises(ValueError, match="balancers"):
        environment_of(ChargeRequestSettings(balancers=()))


@given(topology=topologies())
def test_each_container_is_the_launchers_process(topology: Topology) -> None:
    """Same names, ports and limits; only addresses differ: no container is told of a loopback."""
    found = deployment(topology, "c", HOST_GATEWAY)
    specs = {spec.name: spec for spec in expand(topology, TARGETS_FILE, DATA_FOLDER)}
    assert _names(found) == specs.keys()
    addresses = {"balancers", "peers", "url"}
    for each in found.containers:
        settings, host, port = _served(each.role, each.environment)
        assert (settings, host, port) == (each.settings, "0.0.0.0", specs[each.name].port)
        planned = specs[each.name].settings
        assert planned is not None
        same = [field.name for field in dataclasses.fields(planned) if field.name not in addresses]
        assert [getattr(settings, key) for key in same] == [getattr(planned, key) for key in same]
        assert "127.0.0.1" not in "".join(each.environment.values())


@given(topology=topologies())
def test_everyone_is_reached_by_a_host_name_of_the_list(topology: Topology) -> None:
    found = deployment(topology, "c", HOST_GATEWAY)
    known = {each.url: each for each in found.containers}
    assert len(known) == len(found.containers)
    for each in found.containers:
        if isinstance(each.settings, ChargeRequestSettings):
            assert [known[url].role for url in each.settings.balancers] == [BALANCER] * len(each.settings.balancers)
        if isinstance(each.settings, BalancerSettings) and each.settings.peers:
            assert known[each.settings.url] is each
            assert [known[url] for url in each.settings.peers] == list(found.of_role(BALANCER))
    listed = {target.name: target for target in found.targets}
    assert listed.keys() == _names(found)
    assert all(listed[each.name].host == each.host for each in found.containers)


@given(topology=topologies())
def test_journals_lie_on_volumes_and_balancers_share_theirs(topology: Topology) -> None:
    found = deployment(topology, "c", HOST_GATEWAY)
    volumes = [each.volume for each in found.of_role(SUBSTATION)]
    assert len(set(volumes)) == len(volumes)
    assert {each.volume for each in found.of_role(BALANCER)} == {"balancer"} - set(volumes)
    assert [each.volume for each in found.of_role(CHARGE_REQUEST)] == [None]
    for each in found.containers:
        assert (each.journal is None) == (each.volume is None)
        assert each.journal in (None, f"{DATA_FOLDER}/{each.name}.db")


@given(listed=st.lists(names, unique_by=str.casefold, max_size=20))
def test_every_name_becomes_a_host_name_of_its_own(listed: list[str]) -> None:
    hosts = host_names(listed, ["balancer"])
    assert len(set(hosts.values())) == len(listed)
    for host in hosts.values():
        assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", host)
        assert len(host) <= 40
        assert host not in {*TAKEN, "balancer"}


@pytest.mark.parametrize(
    ("name", "host"),
    [("substation1", "substation1"), ("Harbour.Fast_2", "harbour-fast-2"), ("10.0.0.1", "s-10-0-0-1"), ("_", "s")],
)
def test_names_are_kept_as_far_as_dns_allows(name: str, host: str) -> None:
    assert host_names([name]) == {name: host}


@pytest.mark.parametrize("name", ["prometheus", "Grafana", "balancer.", "x" * 41])
def test_a_name_that_is_taken_or_too_long_gets_a_part_of_its_digest(name: str) -> None:
    host = host_names([name], ["balancer"])[name]
    assert re.fullmatch(r"[a-z]+-[0-9a-f]{8}", host)
    assert host == host_names(["other", name], ["balancer"])[name]


def _external(url: str) -> Topology:
    return Topology.model_validate({"substations": [{"name": "own"}, {"name": "other", "url": url}]})


def test_an_external_substation_keeps_its_address() -> None:
    found = deployment(_external("http://10.1.2.3:7601/api"), "c")
    assert [(spec.name, spec.role, spec.url) for spec in found.externals] == [
        ("other", EXTERNAL, "http://10.1.2.3:7601/api")
    ]
    assert found.rerouted == ()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_one_on_this_machine_is_looked_for_at_the_gateway_or_refused(host: str) -> None:
    topology = _external(f"http://{host}:7601/api")
    found = deployment(topology, "c", HOST_GATEWAY)
    assert [spec.url for spec in found.externals] == ["http://host.docker.internal:7601/api"]
    assert found.rerouted == ("other",)
    with pytest.raises(Invalid, match="loopback") as caught:
        deployment(topology, "c")
    assert [fault.key for fault in caught.value.faults] == ["other.url"]


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_topology_has_its_containers(name: str) -> None:
    topology = parse_topology(shipped_text(name), name)
    found = deployment(topology, name, HOST_GATEWAY)
    assert len(found.containers) == len(topology.substations) - len(found.externals) + topology.balancer.replicas + 1
    assert all(isinstance(each, Container) and each.limits.memory_mb >= 256 for each in found.containers)
