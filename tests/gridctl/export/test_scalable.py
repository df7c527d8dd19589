"""Replicas of one substation: found by DNS, named after their journals, told apart by nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from config.errors import Invalid
from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from config.settings import BalancerSettings, SubstationSettings
from config.topology import Topology
from gridctl.export.containers import DATA_FOLDER, HOST_GATEWAY, TARGETS_FILE, Deployment, deployment
from gridctl.export.scalable import MOST_DRAIN_S, VOLUME, replicated

OTHER = {"name": "other", "url": "http://127.0.0.1:7601"}


def _deployment(**topology: Any) -> Deployment:
    return deployment(Topology.model_validate(topology), "city", HOST_GATEWAY)


def test_all_substations_become_one_container_that_there_are_many_of() -> None:
    grid = replicated(_deployment(substations=5, time_scale=2, defaults={"session_s": 61, "max_sessions": 7}))
    (substation,) = grid.of_role(SUBSTATION)
    assert (substation.host, substation.port, substation.replicas, substation.volume) == ("substation", 9001, 5, VOLUME)
    assert substation.scalable
    assert substation.settings == SubstationSettings(
        name="substation", max_sessions=7, session_s=61, time_scale=2, journal_dir=DATA_FOLDER, drain_s=31
    )
    assert [each.role for each in grid.containers] == [SUBSTATION, BALANCER, CHARGE_REQUEST]


def test_balancers_find_them_by_dns_and_everybody_else_by_the_list() -> None:
    plain = _deployment(substations=3, balancer={"replicas": 2})
    grid = replicated(plain, "tasks.substation")
    for before, balancer in zip(plain.of_role(BALANCER), grid.of_role(BALANCER), strict=True):
        assert isinstance(before.settings, BalancerSettings)
        dns = {"substations_dns": "tasks.substation:9001", "targets_file": None, "cluster": "city"}
        assert balancer.settings == replace(before.settings, **dns, url=balancer.url)  # type: ignore[arg-type]
    assert grid.of_role(CHARGE_REQUEST) == plain.of_role(CHARGE_REQUEST)
    assert {target.role for target in grid.targets} == {BALANCER, CHARGE_REQUEST}


def test_external_substations_stay_in_the_list() -> None:
    grid = replicated(_deployment(substations=[{"name": "a"}, OTHER]))
    (balancer,) = grid.of_role(BALANCER)
    assert getattr(balancer.settings, "targets_file", None) == TARGETS_FILE
    assert [target.name for target in grid.targets if target.url is not None] == ["other"]


def test_substations_that_differ_are_no_replicas() -> None:
    with pytest.raises(Invalid, match="replicas are alike") as caught:
        replicated(_deployment(substations=[{"name": "a"}, {"name": "b", "max_sessions": 3}, {"name": "c"}]))
    assert [str(fault) for fault in caught.value.faults] == ["topology: b.max_sessions: found 3; allowed: 10, as a"]
    with pytest.raises(Invalid, match="no substation of our own"):
        replicated(_deployment(substations=[OTHER]))


def test_a_drain_has_an_end() -> None:
    (substation,) = replicated(_deployment(defaults={"session_s": 1e6})).of_role(SUBSTATION)
    assert substation.drain_s == MOST_DRAIN_S
