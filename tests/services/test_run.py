"""Which module makes which service."""

from __future__ import annotations

import gc
import importlib

import pytest

from config.names import BALANCER, CHARGE_REQUEST, SUBSTATION
from config.settings import BalancerSettings, ChargeRequestSettings, Settings, SubstationSettings
from services.run import COLLECTED_AT, MODULES, collect_seldom, create, needs


@pytest.mark.parametrize(
    ("role", "settings"),
    [
        (SUBSTATION, SubstationSettings(name="x")),
        (BALANCER, BalancerSettings(name="x", substations=("127.0.0.1:1",))),
        (CHARGE_REQUEST, ChargeRequestSettings(name="x")),
    ],
)
async def test_every_role_makes_its_service(role: str, settings: Settings) -> None:
    service = create(role, settings)
    assert (service.name, service.role) == ("x", role)
    paths = {route.path for route in service.routes()}
    assert not paths & {"/health", "/metrics"}


def test_a_role_that_there_is_not() -> None:
    with pytest.raises(KeyError):
        create("external", SubstationSettings())


def test_what_is_there_before_the_first_fork_is_all_that_any_service_needs() -> None:
    assert set(needs({})) == {*MODULES.values(), "services.serving", "services.worker", "uvloop"}
    assert set(needs({}, SUBSTATION)) == {
        "services.substation.service",
        "services.serving",
        "services.worker",
        "uvloop",
    }
    assert needs({}, "prometheus") == []
    for module in needs({}):
        importlib.import_module(module)


def test_garbage_is_still_collected_but_seldom() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    try:
        collect_seldom()
        assert gc.get_threshold()[0] == COLLECTED_AT
        assert gc.get_freeze_count() > frozen
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
