"""What `gridctl serve` makes of flags and environment, without serving."""

from __future__ import annotations

import os
import socket
from dataclasses import fields
from typing import Any

import pytest

from config.errors import GridError, InUse, Invalid
from config.settings import BalancerSettings, ChargeRequestSettings, SubstationSettings
from gridctl.cli import run
from gridctl.serve.listening import listening_socket, resolve
from gridctl.serve.settings import SETTINGS, Given, settings_of


def _given(**texts: str) -> dict[str, Given]:
    return {key: Given(f"--{key}", text, by_flag=True) for key, text in texts.items()}


def _set(**texts: str) -> dict[str, Given]:
    return {key: Given(key.upper(), text, by_flag=False) for key, text in texts.items()}


def test_nothing_given_is_the_defaults() -> None:
    assert settings_of("substation", {}) == (SubstationSettings(), "127.0.0.1", 9001)
    assert settings_of("charge-request", {}) == (ChargeRequestSettings(), "127.0.0.1", 8080)


def test_every_setting_has_a_flag() -> None:
    declared = {f.name for role in (SubstationSettings, BalancerSettings, ChargeRequestSettings) for f in fields(role)}
    assert {setting.key for setting in SETTINGS} == declared


def test_a_substations_settings() -> None:
    texts = {"max_sessions": "4", "capacity_kw": "50", "session_s": "9.5", "power_kw": "11", "time_scale": "60"}
    expected = SubstationSettings("s1", 4, 50.0, 9.5, 11.0, 60.0)
    assert settings_of("substation", _given(**texts, name="s1", host="0.0.0.0", port="0")) == (expected, "0.0.0.0", 0)


def test_a_balancers_settings() -> None:
    texts = {
        "substations": "127.0.0.1:9001, b=127.0.0.1:9002,",
        "policy": "random",
        "seed": "7",
        "poll_interval_s": "1",
    }
    settings, _, port = settings_of("balancer", _given(**texts))
    assert settings == BalancerSettings(
        policy="random", seed=7, poll_interval_s=1.0, substations=("127.0.0.1:9001", "b=127.0.0.1:9002")
    )
    assert port == 8081


def test_journals_queues_and_peers() -> None:
    own = {"journal": "a.db", "durability": "process", "hard_limit": "False"}
    expected = SubstationSettings(journal="a.db", durability="process", hard_limit=False)
    assert settings_of("substation", _given(**own))[0] == expected
    queue = {"admission": "queue", "queue_limit": "5", "max_wait_s": "60"}
    peers = {"peers": "b1:8081,b2:8081", "url": "b1:8081"}
    settings, _, _ = settings_of("balancer", _given(substations="a:1", **queue, **peers))
    assert isinstance(settings, BalancerSettings)
    assert (settings.admission, settings.queue_limit, settings.max_wait_s) == ("queue", 5, 60.0)
    assert (settings.peers, settings.url) == (("http://b1:8081", "http://b2:8081"), "http://b1:8081")


def test_a_request_services_settings() -> None:
    settings, _, _ = settings_of("charge-request", _given(balancers="b:8081,http://c:1", request_timeout_s="3"))
    assert settings == ChargeRequestSettings(balancers=("http://b:8081", "http://c:1"), request_timeout_s=3.0)


def test_all_faults_are_told_at_once_and_name_the_flag_or_the_variable() -> None:
    given = _given(max_sessions="ten", capacity_kw="nan") | _set(port="65536", session_s="-1")
    with pytest.raises(Invalid) as caught:
        settings_of("substation", given)
    assert caught.value.exit_code == 2
    assert {(fault.where, fault.found) for fault in caught.value.faults} == {
        ("--max_sessions", "'ten'"),
        ("--capacity_kw", "'nan'"),
        ("PORT", "'65536'"),
        ("SESSION_S", "'-1'"),
    }


@pytest.mark.parametrize(
    ("role", "key", "text"),
    [
        ("substation", "name", "../x"),
        ("substation", "host", " "),
        ("substation", "max_sessions", "0"),
        ("substation", "max_sessions", "1.5"),
        ("substation", "max_sessions", "9" * 30),
        ("substation", "max_sessions", "²"),
        ("substation", "power_kw", "inf"),
        ("substation", "time_scale", "1e400"),
        ("balancer", "policy", "best"),
        ("balancer", "admission", "wait"),
        ("balancer", "url", "a:1,b:2"),
        ("substation", "hard_limit", "no"),
        ("substation", "durability", "none"),
        ("substation", "drain_s", "-1"),
        ("balancer", "substations_dns", "substation"),
        ("balancer", "substations_dns", "http://substation:9001"),
        ("balancer", "substations_dns", "substation:0"),
        ("balancer", "substations", "http://"),
        ("balancer", "seed", "-1"),
        ("charge-request", "balancers", ","),
        ("charge-request", "balancers", "http://x:0"),
        ("charge-request", "balancers", "http://[x"),
        ("charge-request", "balancers", "ftp://x"),
    ],
)
def test_bad_values(role: str, key: str, text: str) -> None:
    with pytest.raises(Invalid) as caught:
        settings_of(role, _given(**{key: text}))
    assert [fault.key for fault in caught.value.faults] == [key]


def test_another_roles_flag_is_a_fault_its_variable_is_not() -> None:
    with pytest.raises(Invalid):
        settings_of("substation", _given(policy="random"))
    assert settings_of("substation", _set(policy="random"))[0] == SubstationSettings()


def test_a_balancer_wants_substations() -> None:
    with pytest.raises(Invalid, match="balancer"):
        settings_of("balancer", {})
    assert settings_of("balancer", _given(targets_file="/x.json"))[0] == BalancerSettings(targets_file="/x.json")
    found = settings_of("balancer", _given(substations_dns="tasks.substation:9001"))[0]
    assert found == BalancerSettings(substations_dns="tasks.substation:9001")


def test_one_that_shares_a_folder() -> None:
    settings, _, _ = settings_of("substation", _given(name="substation", journal_dir="/data", drain_s="0"))
    assert settings == SubstationSettings(name="substation", journal_dir="/data", drain_s=0.0)
    with pytest.raises(Invalid) as caught:
        settings_of("substation", _given(journal_dir="/data", journal="/data/x.db"))
    assert [fault.key for fault in caught.value.faults] == ["journal_dir"]
    with pytest.raises(Invalid) as caught:
        settings_of("substation", _given(journal_dir="/data", name="x" * 55))
    assert [fault.key for fault in caught.value.faults] == ["name"]


def test_a_busy_port_names_its_holder() -> None:
    with listening_socket(resolve("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with pytest.raises(InUse, match=f"port {port} is in use by "):
            listening_socket(resolve("127.0.0.1", port))


def test_addresses_that_cannot_be() -> None:
    with pytest.raises(Invalid, match="no such address"):
        listening_socket(resolve("nowhere.invalid", 0))
    with pytest.raises(Invalid, match="no such address"):
        listening_socket(resolve("x" * 300, 0))
    with pytest.raises(GridError, match="cannot listen"):
        listening_socket(resolve("192.0.2.1", 0))


def test_an_ipv6_address() -> None:
    if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):  # noqa: PTH110
        return
    with listening_socket(resolve("::1", 0)) as sock:
        assert sock.family is socket.AF_INET6


@pytest.mark.parametrize("arguments", [["serve"], ["serve", "grid"], ["serve", "substation", "--port", "x"]])
def test_bad_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert "error: " in capsys.readouterr().err


def test_the_help_names_the_variables(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--help"]) == 0
    text: Any = capsys.readouterr().out
    assert all(setting.variable in text for setting in SETTINGS)
