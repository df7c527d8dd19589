"""The one expansion from topology to processes, and what must happen to get from one to another."""

import dataclasses
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from config.names import BALANCER, CHARGE_REQUEST, EXTERNAL, GRAFANA, PROMETHEUS, SUBSTATION, WATCHERS
from config.plan import Change, ProcessSpec, Watching, changes, expand, launched, processes, usual_workers, watchers
from config.settings import BalancerSettings, ChargeRequestSettings, SubstationSettings
from config.topology import Topology

names = st.lists(st.sampled_from([*"abcdefgh", "substation1", "substation2"]), unique=True, max_size=6)
ports = st.lists(st.integers(9000, 9012), unique=True, min_size=10, max_size=10)
maybe = st.booleans()


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Legal topologies with ports set here and there, close to where the defaults lie, and external substations."""
    numbers = iter(draw(ports))
    listed: list[dict[str, Any]] = []
    for name in draw(names):
        if draw(maybe):
            limits = {"max_sessions": draw(st.none() | st.integers(1, 99))}
            listed.append({"name": name, "url": f"http://127.0.0.1:{next(numbers)}", **limits})
        else:
            port = next(numbers) if draw(maybe) else None
            own = {"max_sessions": draw(st.none() | st.integers(1, 99)), "power_kw": draw(st.none() | st.floats(1, 99))}
            listed.append({"name": name, "port": port, **own})
    services: dict[str, dict[str, Any]] = {
        key: {"port": next(numbers)} for key in ("request_service", "balancer") if draw(maybe)
    }
    if draw(maybe):
        wanted = {"prometheus": draw(maybe), "grafana": draw(maybe)}
        services["monitoring"] = {**wanted, **{f"{name}_port": next(numbers) for name in wanted if draw(maybe)}}
    if draw(maybe):
        services.setdefault("balancer", {})["replicas"] = draw(st.integers(1, 4))
    if draw(maybe):
        services.setdefault("request_service", {})["workers"] = draw(st.integers(1, 4))
    scale = {"time_scale": draw(st.sampled_from([1, 60]))}
    defaults = {"defaults": {"session_s": draw(st.sampled_from([30, 60]))}}
    return Topology.model_validate({"substations": listed, **services, **scale, **defaults})


def _named(topology: Topology) -> dict[str, ProcessSpec]:
    return {spec.name: spec for spec in expand(topology)}


def test_the_default_grid() -> None:
    specs = expand(Topology(), "targets.json")
    assert [(spec.name, spec.role, spec.host, spec.port, spec.port_fixed) for spec in specs] == [
        ("substation1", SUBSTATION, "127.0.0.1", 9001, False),
        ("substation2", SUBSTATION, "127.0.0.1", 9002, False),
        ("substation3", SUBSTATION, "127.0.0.1", 9003, False),
        ("balancer", BALANCER, "127.0.0.1", 8081, False),
        ("charge-request", CHARGE_REQUEST, "127.0.0.1", 8080, False),
    ]
    assert specs[0].settings == SubstationSettings(name="substation1")
    assert specs[3].settings == BalancerSettings(targets_file="targets.json")
    assert specs[4].settings == ChargeRequestSettings()


def test_settings_come_from_the_entry_else_from_the_defaults() -> None:
    topology = Topology.model_validate(
        {
            "time_scale": 60,
            "request_service": {"port": 80, "request_timeout_s": 3},
            "balancer": {"port": 81, "policy": "random", "poll_interval_s": 1},
            "defaults": {"max_sessions": 4, "capacity_kw": 50, "session_s": 7, "power_kw": 11},
            "substations": [
                {"name": "a"},
                {"name": "b", "port": 9, "max_sessions": 5, "capacity_kw": 60, "session_s": 8, "power_kw": 22},
            ],
        }
    )
    specs = _named(topology)
    assert specs["a"].settings == SubstationSettings("a", 4, 50, 7, 11, 60)
    assert specs["b"].settings == SubstationSettings("b", 5, 60, 8, 22, 60)
    assert (specs["b"].port, specs["b"].port_fixed) == (9, True)
    assert specs[BALANCER].settings == BalancerSettings(
        policy="random",
        poll_interval_s=1,
        request_timeout_s=3,
        targets_file="targets.json",
        session_s=7,
        power_kw=11,
        time_scale=60,
    )
    assert specs[CHARGE_REQUEST].settings == ChargeRequestSettings(
        balancers=("http://127.0.0.1:81",), request_timeout_s=3, time_scale=60
    )


def test_several_balancers_know_each_other_and_the_request_service_knows_all() -> None:
    topology = Topology.model_validate(
        {"balancer": {"replicas": 3, "port": 8079}, "substations": [{"name": "a", "port": 8081}]}
    )
    specs = _named(topology)
    urls = tuple(f"http://127.0.0.1:{port}" for port in (8079, 8082, 8083))
    for number, port in ((1, 8079), (2, 8082), (3, 8083)):
        spec = specs[BALANCER if number == 1 else f"balancer{number}"]
        assert (spec.role, spec.port, spec.port_fixed) == (BALANCER, port, number == 1)
        assert isinstance(spec.settings, BalancerSettings)
        assert (spec.settings.name, spec.settings.peers) == (spec.name, urls)
    assert specs[CHARGE_REQUEST].settings == ChargeRequestSettings(balancers=urls)


def test_journals_lie_in_the_data_folder() -> None:
    topology = Topology.model_validate({"durability": "process", "substations": 1, "defaults": {"hard_limit": False}})
    specs = {spec.name: spec for spec in expand(topology, data_dir="/state/grid/data")}
    own = specs["substation1"].settings
    assert isinstance(own, SubstationSettings)
    assert (own.journal, own.durability, own.hard_limit) == ("/state/grid/data/substation1.db", "process", False)
    placing = specs[BALANCER].settings
    assert isinstance(placing, BalancerSettings)
    assert (placing.journal, placing.durability) == ("/state/grid/data/balancer.db", "process")


def test_the_first_balancer_stays_itself_and_knows_whose_journals_are_nobodys() -> None:
    """However many there are: its port and its journal stay, and it alone takes over what leaving ones leave."""
    for replicas in (1, 2, 3):
        topology = Topology.model_validate({"balancer": {"replicas": replicas, "port": 8079}})
        first, *others = (spec for spec in expand(topology, data_dir="/data") if spec.role == BALANCER)
        assert isinstance(first.settings, BalancerSettings)
        assert (first.name, first.port, first.settings.journal) == ("balancer", 8079, "/data/balancer.db")
        assert first.settings.replicas == ("balancer", "balancer2", "balancer3")[:replicas]
        assert all(isinstance(spec.settings, BalancerSettings) and not spec.settings.replicas for spec in others)


def test_an_external_substation_keeps_what_is_declared_of_it() -> None:
    url = {"name": "e", "url": "http://h:80/x/"}
    declared = {"load_metric": "load", "max_sessions": 4, "capacity_kw": 30}
    topology = Topology.model_validate({"defaults": {"max_sessions": 9}, "substations": [{**url, **declared}]})
    assert _named(topology)["e"] == ProcessSpec(
        "e", EXTERNAL, "", 0, True, None, "http://h:80/x", "load", max_sessions=4, capacity_kw=30
    )
    bare = _named(Topology.model_validate({"substations": [url]}))["e"]
    assert (bare.load_metric, bare.max_sessions, bare.capacity_kw) == ("substation_current_load", None, None)


@given(topologies())
def test_names_and_ports_are_unique_and_order_is_kept(topology: Topology) -> None:
    specs = expand(topology)
    replicas = topology.balancer.replicas
    balancers = [BALANCER, *(f"{BALANCER}{number}" for number in range(2, replicas + 1))]
    assert [spec.name for spec in specs] == [*(s.name for s in topology.substations), *balancers, CHARGE_REQUEST]
    own = [spec.port for spec in specs if spec.role != EXTERNAL]
    assert len(set(own)) == len(own)
    taken_by_others = {int(spec.url.rpartition(":")[2]) for spec in specs if spec.url}
    assert not taken_by_others & set(own)
    assert all((spec.settings is None) == (spec.role == EXTERNAL) == (spec.url is not None) for spec in specs)


@given(topologies())
def test_what_watches_the_grid_comes_after_it_and_takes_no_port_of_it(topology: Topology) -> None:
    specs = launched(topology, "targets.json", "data")
    grid = processes(topology, "targets.json", "data")
    assert specs[: len(grid)] == grid
    watching = specs[len(grid) :]
    assert watching == watchers(topology)
    assert all(spec.role in WATCHERS and spec.watching is not None for spec in watching)
    own = [spec.metrics_port or spec.port for spec in specs if spec.role != EXTERNAL]
    assert len(set(own)) == len(own)


def test_a_prometheus_and_a_grafana_that_asks_it() -> None:
    def wanted(**monitoring: Any) -> list[tuple[str, int, bool]]:
        return [
            (spec.role, spec.port, spec.port_fixed)
            for spec in watchers(Topology.model_validate({"monitoring": monitoring}))
        ]

    assert wanted() == []
    assert wanted(prometheus=True) == [(PROMETHEUS, 9090, False)]
    assert wanted(grafana=True, prometheus_port=9999) == [(PROMETHEUS, 9999, True), (GRAFANA, 3000, False)]
    assert wanted(grafana_port=3001, prometheus_port=9999) == [], "a port alone switches nothing on"
    quick = {"monitoring": {"prometheus": True, "scrape_interval_s": 1}, "balancer": {"poll_interval_s": 2}}
    assert watchers(Topology.model_validate(quick))[0].watching == Watching(1, 2)


@given(topologies())
def test_expansion_is_pure_and_unchanged_is_kept(topology: Topology) -> None:
    specs = expand(topology)
    assert specs == expand(topology)
    assert {change.action for change in changes(specs, specs)} == {"keep"}


@given(topologies(), topologies())
def test_changes_name_each_process_once_and_stop_first(before: Topology, after: Topology) -> None:
    running, wanted = _named(before), _named(after)
    steps = changes(expand(before), expand(after))
    assert sorted(step.name for step in steps) == sorted(running.keys() | wanted.keys())
    for step in steps:
        spec = (wanted if step.name in wanted else running)[step.name]
        assert step.role == spec.role
        assert step.cause
        match step.action:
            case "stop":
                assert step.name not in wanted
            case "start":
                assert step.name not in running
            case "keep":
                assert running[step.name].settings == wanted[step.name].settings
            case "restart" | "reload":
                assert running[step.name] != wanted[step.name]
    order = [{"stop": 0, "restart": 1, "start": 1, "keep": 2}[step.action] for step in steps]
    assert order == sorted(order)


@given(topologies(), topologies())
def test_a_process_that_is_kept_is_as_wanted_but_for_a_port_that_may_move(before: Topology, after: Topology) -> None:
    running, wanted = _named(before), _named(after)
    for step in changes(expand(before), expand(after)):
        if step.action == "keep":
            old, new = running[step.name], wanted[step.name]
            port = new.port if new.port_fixed else old.port
            assert dataclasses.replace(new, port=port, port_fixed=old.port_fixed) == old


def _cause(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str, str]]:
    steps = changes(expand(Topology.model_validate(before)), expand(Topology.model_validate(after)))
    return [(step.action, step.name, step.cause) for step in steps if step.action != "keep"]


@given(topologies(), st.integers(1, 64))
def test_workers_share_a_port_and_each_has_one_for_its_metrics_that_nobody_else_wants(
    topology: Topology, cores: int
) -> None:
    specs = processes(topology, "targets.json", "data", cores)
    alone = expand(topology, "targets.json", "data")
    workers = [spec for spec in specs if spec.role == CHARGE_REQUEST]
    assert specs[: -len(workers)] == alone[:-1]
    settings = alone[-1].settings
    assert isinstance(settings, ChargeRequestSettings)
    number = topology.request_service.workers or usual_workers(cores, topology.balancer.replicas)
    assert [spec.name for spec in workers] == [CHARGE_REQUEST, *(f"{CHARGE_REQUEST}{k + 1}" for k in range(1, number))]
    assert all(spec.settings == replace(settings, name=spec.name, workers=1) for spec in workers)
    assert {(spec.port, spec.port_fixed) for spec in workers} == {(alone[-1].port, alone[-1].port_fixed)}
    own = [spec.metrics_port for spec in workers]
    if number == 1:
        assert (workers[0].worker, own) == (None, [None])
        return
    assert [spec.worker for spec in workers] == list(range(number))
    assert len(set(own)) == number
    assert not {*own} & {spec.port for spec in specs}


def test_workers_by_cores() -> None:
    assert [usual_workers(cores, 2) for cores in (1, 2, 3, 4, 6, 8, 64)] == [1, 1, 1, 2, 3, 4, 4]
    assert [usual_workers(8, balancers) for balancers in (1, 2, 3)] == [2, 4, 4]


def test_more_workers_start_beside_those_that_share_already() -> None:
    def causes(before: int, after: int) -> list[tuple[str, str, str]]:
        topologies = [Topology.model_validate({"request_service": {"workers": number}}) for number in (before, after)]
        old, new = (processes(each) for each in topologies)
        return [(step.action, step.name, step.cause) for step in changes(old, new) if step.action != "keep"]

    start, stop = "in the topology and not running", "not in the topology any more"
    assert causes(2, 3) == [("start", "charge-request3", start)]
    assert causes(3, 2) == [("stop", "charge-request3", stop)]
    assert causes(1, 2) == [
        ("restart", "charge-request", "shares its port with other workers"),
        ("start", "charge-request2", start),
    ]
    assert causes(2, 1) == [
        ("stop", "charge-request2", stop),
        ("restart", "charge-request", "has its port to itself"),
    ]


def test_causes() -> None:
    one: dict[str, Any] = {"substations": [{"name": "a"}]}
    assert _cause(one, {"substations": []}) == [("stop", "a", "not in the topology any more")]
    assert _cause({"substations": []}, one) == [("start", "a", "in the topology and not running")]
    assert _cause(one, {"substations": [{"name": "a", "max_sessions": 4, "capacity_kw": 9}]}) == [
        ("restart", "a", "max_sessions 10 → 4, capacity_kw none → 9.0")
    ]
    assert _cause(one, {"substations": [{"name": "a", "port": 9001}]}) == []
    assert _cause(one, {"substations": [{"name": "a", "port": 9005}]}) == [("restart", "a", "port 9001 → 9005")]
    assert _cause(one, {"substations": [{"name": "a", "url": "http://h:1"}]}) == [
        ("restart", "a", "role substation → external, port 9001 → 0")
    ]
    external: dict[str, Any] = {"name": "e", "url": "http://h:1"}
    assert _cause(
        {"substations": [external]}, {"substations": [{**external, "load_metric": "x", "max_sessions": 4}]}
    ) == [("restart", "e", "load_metric substation_current_load → x, max_sessions none → 4")]
    assert [name for _, name, _ in _cause(one, {**one, "time_scale": 60})] == ["a", "balancer", "charge-request"]
    assert _cause(one, {**one, "balancer": {"policy": "random"}}) == [("restart", "balancer", "policy ledger → random")]


def test_a_watcher_is_told_anew_of_what_it_goes_by_only() -> None:
    def causes(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str, str]]:
        old, new = (watchers(Topology.model_validate(each)) for each in (before, after))
        return [(step.action, step.name, step.cause) for step in changes(old, new)]

    on: dict[str, Any] = {"monitoring": {"prometheus": True}}
    assert causes(on, {**on, "substations": 5, "time_scale": 60}) == [("keep", "prometheus", "unchanged")]
    assert causes(on, {**on, "balancer": {"poll_interval_s": 60}}) == [
        ("reload", "prometheus", "poll_interval_s 5.0 → 60.0")
    ]
    moved = {"monitoring": {"prometheus": True, "prometheus_port": 9191, "scrape_interval_s": 1}}
    assert causes(on, moved) == [("restart", "prometheus", "port 9090 → 9191, scrape_interval_s 5.0 → 1.0")]
    drawn: dict[str, Any] = {"monitoring": {"grafana": True}}
    assert [step[:2] for step in causes(drawn, {"monitoring": {"grafana": True, "scrape_interval_s": 1}})] == [
        ("reload", "prometheus"),
        ("restart", "grafana"),
    ]
    assert causes(on, {}) == [("stop", "prometheus", "not in the topology any more")]


def test_a_change_says_what_it_is_about() -> None:
    assert changes((), expand(Topology(substations=())))[0] == Change(
        "start", BALANCER, BALANCER, "in the topology and not running"
    )
