"""Bytes become messages, or problems that name each bad field."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.messages import MAX_BATCH, Batch, ChargeRequest, SubstationCharge, read_batch
from config.problems import Problem


def _batch(body: bytes) -> Batch[SubstationCharge]:
    batch = read_batch(body, SubstationCharge)
    assert isinstance(batch, Batch)
    return batch


def _fields(body: bytes) -> dict[str, str]:
    (item,) = _batch(body).items
    assert isinstance(item, Problem)
    assert item.status == 422
    return {fault.field: fault.message for fault in item.errors}


def test_one_request() -> None:
    body = b'{"ev_id": "EV1", "request_id": "r.1", "power_kw": 7.4, "energy_kwh": 3, "duration_s": 9, "attempt": 2}'
    assert _batch(body).items == (
        SubstationCharge(ev_id="EV1", request_id="r.1", power_kw=7.4, energy_kwh=3.0, duration_s=9.0, attempt=2),
    )
    assert not _batch(body).is_array


def test_attempt_is_not_a_clients_word() -> None:
    (item,) = _items(read_batch(b'{"ev_id": "EV1", "attempt": 2}', ChargeRequest))
    assert isinstance(item, Problem)
    assert item.errors[0].field == "attempt"


def _items(batch: Batch[ChargeRequest] | Problem) -> tuple[ChargeRequest | Problem, ...]:
    assert isinstance(batch, Batch)
    return batch.items


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "0", "-3", '"7.4"', "true", "[1]", "{}", "1e300"]
)
@pytest.mark.parametrize("field", ["power_kw", "energy_kwh", "duration_s", "departure_in_s"])
@pytest.mark.parametrize("form", ['{"ev_id": "EV1", "%s": %s}', '[{"ev_id": "EV1", "%s": %s}]'])
def test_a_number_is_finite_positive_and_sane(form: str, field: str, value: str) -> None:
    assert list(_fields((form % (field, value)).encode())) == [field]


def test_a_number_of_a_thousand_digits_is_refused_by_name() -> None:
    assert list(_fields(b'{"ev_id": "EV1", "power_kw": ' + b"9" * 1000 + b"}")) == ["power_kw"]


def test_all_faults_are_told_at_once() -> None:
    found = _fields(b'{"ev_id": "", "powr_kw": 1, "energy_kwh": -1, "request_id": "../x", "attempt": 0}')
    assert set(found) == {"ev_id", "powr_kw", "energy_kwh", "request_id", "attempt"}
    assert found["powr_kw"] == "is not a known field; did you mean power_kw?"


@pytest.mark.parametrize("body", [b"3", b'"x"', b"null", b"true"])
def test_json_that_is_no_object_is_a_fault_of_the_body(body: bytes) -> None:
    assert _fields(body) == {"": "a JSON object was expected"}


@pytest.mark.parametrize(
    "body", [b"", b"  \n", b"{", b"[", b'{"ev_id": "EV1"', b"\xff\xfe", b"[" * 100_000, b'"\\ud800"']
)
def test_what_is_no_json_is_a_400(body: bytes) -> None:
    problem = read_batch(body, ChargeRequest)
    assert isinstance(problem, Problem)
    assert problem.status == 400
    assert problem.reason == "not-json"


def test_an_array_may_fail_in_parts() -> None:
    batch = _batch(b'[{"ev_id": "a"}, 3, {"ev_id": "b", "power_kw": NaN}, {"ev_id": "c"}]')
    assert batch.is_array
    assert [isinstance(item, Problem) for item in batch.items] == [False, True, True, False]


def test_an_array_has_an_end() -> None:
    assert len(_batch(json.dumps([{"ev_id": "a"}] * MAX_BATCH).encode()).items) == MAX_BATCH
    problem = read_batch(json.dumps([{"ev_id": "a"}] * (MAX_BATCH + 1)).encode(), ChargeRequest)
    assert isinstance(problem, Problem)
    assert problem.status == 413


def test_an_empty_array_asks_for_nothing() -> None:
    assert _batch(b"[]").items == ()


def test_a_problem_stays_small_whatever_was_sent() -> None:
    body = json.dumps({f"{'x' * 1000}{n}": "y" * 1000 for n in range(900)} | {"ev_id": "EV1"}).encode()
    (item,) = _batch(body).items
    assert isinstance(item, Problem)
    assert len(json.dumps(item.body())) < 10_000


@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:0123456789.eE+-NaIfinty \\u', max_size=80).map(str.encode))
def test_no_bytes_at_all_raise(body: bytes) -> None:
    found = read_batch(body, SubstationCharge)
    problems = [found] if isinstance(found, Problem) else [item for item in found.items if isinstance(item, Problem)]
    for problem in problems:
        json.dumps(problem.body(), allow_nan=False)
