"""What stands in messages comes out as it went in, and nothing else comes out of anything else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.stream import wire
from services.stream.wire import Call, Said

NUMBERS = st.integers(1, 2**53)
JSON = st.dictionaries(st.text(max_size=20), st.text(max_size=20) | st.integers(), max_size=4)
PARENTS = st.sampled_from(["", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"])
STATES = st.sampled_from(["", "vendor=a b,other=c", "x=-"])
CALLS = st.builds(
    Call, NUMBERS, st.integers(1, 10**7), JSON.map(lambda body: json.dumps(body).encode()), PARENTS, STATES
)
ANSWERS = st.builds(
    Said,
    NUMBERS,
    st.integers(0, 599),
    JSON.map(lambda body: json.dumps(body, ensure_ascii=False).encode()),
    st.sampled_from(["", "1", "17"]),
)


def _all_of(call: Call) -> tuple[object, ...]:
    return call.number, call.left_ms, call.body, call.traceparent, call.tracestate


@given(st.lists(CALLS, max_size=20))
def test_calls_come_out_as_they_went_in(calls: list[Call]) -> None:
    found = wire.calls_of(b"".join(wire.put_call(call) for call in calls))
    assert list(map(_all_of, found)) == list(map(_all_of, calls))


@given(st.sampled_from(["", "v=1;epoch=5;seq=1;ends="]), st.lists(ANSWERS, max_size=20))
def test_answers_come_out_as_they_went_in(head: str, answers: list[Said]) -> None:
    found = wire.answers_of(wire.put_answers(head, (wire.put_answer(said) for said in answers)))
    assert [(each.number, each.status, each.body, each.retry_after, each.head) for each in found] == [
        (said.number, said.status, said.body, said.retry_after, head) for said in answers
    ]


def test_a_body_with_line_ends_means_the_same() -> None:
    body = b'{\n  "ev_id": "EV\\n1"\n}\n'
    (call,) = wire.calls_of(wire.put_call(Call(1, 1000, body)))
    assert json.loads(call.body) == json.loads(body)


@pytest.mark.parametrize(
    "message",
    [b"1 2 - \n", b"1 2 - \n{}", b"x 2 - \n{}\n", b"1 y - \n{}\n", b"1 2\n{}\n", b"\xff 2 - \n{}\n", b"{}\n{}\n"],
)
def test_what_is_no_call_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        wire.calls_of(message)


@pytest.mark.parametrize("message", [b"", b"head", b"head\n1 200 -\n{}", b"head\n1 200\n{}\n", b"\xff\n1 200 -\n{}\n"])
def test_what_is_no_answer_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        wire.answers_of(message)


def test_a_message_holds_no_more_than_go_together() -> None:
    calls = [Call(number, 1000, b"{}") for number in range(wire.MOST_MEMBERS + 1)]
    answers = [Said(call.number, 200, b"{}") for call in calls]
    assert len(wire.calls_of(b"".join(map(wire.put_call, calls[1:])))) == wire.MOST_MEMBERS
    assert len(wire.answers_of(wire.put_answers("", map(wire.put_answer, answers[1:])))) == wire.MOST_MEMBERS
    with pytest.raises(ValueError, match="at most"):
        wire.calls_of(b"".join(map(wire.put_call, calls)))
    with pytest.raises(ValueError, match="at most"):
        wire.answers_of(wire.put_answers("", map(wire.put_answer, answers)))
