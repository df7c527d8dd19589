"""Settings survive the way through JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.names import BALANCER, CHARGE_REQUEST, EXTERNAL, SUBSTATION
from config.settings import (
    BalancerSettings,
    ChargeRequestSettings,
    Settings,
    SubstationSettings,
    settings_from_json,
    settings_to_json,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.lists(st.text()).map(tuple)
substations = st.builds(SubstationSettings, capacity_kw=st.none() | finite, session_s=finite, power_kw=finite)
balancers = st.builds(
    BalancerSettings, substations=texts, targets_file=st.none() | st.text(), seed=st.none() | st.integers()
)
request_services = st.builds(ChargeRequestSettings, balancers=texts, request_timeout_s=finite, time_scale=finite)


@given(
    st.tuples(st.just(SUBSTATION), substations)
    | st.tuples(st.just(BALANCER), balancers)
    | st.tuples(st.just(CHARGE_REQUEST), request_services)
)
def test_there_and_back(pair: tuple[str, Settings]) -> None:
    role, settings = pair
    assert settings_from_json(role, json.loads(json.dumps(settings_to_json(settings)))) == settings


def test_unknown_role_and_key() -> None:
    with pytest.raises(KeyError):
        settings_from_json(EXTERNAL, {})
    with pytest.raises(TypeError):
        settings_from_json(SUBSTATION, {"colour": "red"})
