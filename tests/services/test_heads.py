"""A head that is known by what it has in common with others is the same as one that is read anew, and as often none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from config.access import LOCAL, Access, Token
from services.gate import Gate
from services.heads import MOST_HEADS, OFTEN, Head, Heads

TOKEN = "T" * 20
GUARDED = Access(token=Token(TOKEN))
PLAIN = ("Host: localhost", "Content-Type: application/json")

#: A line and another one in its place.
Twins = tuple[str, str]


def _twins(name: str, *values: str) -> st.SearchStrategy[Twins]:
    one = st.sampled_from([f"{name}{value}" for value in values])
    return st.tuples(one, one)


_PARENTS = (f"00-{'a' * 32}-{'b' * 16}-01", f"00-{'1' * 32}-{'2' * 16}-00", f"00-{'0' * 32}-{'b' * 16}-01", "ff-", "x")
_NAMED_ONCE = ("Idempotency-Key", "idempotency-key", "IDEMPOTENCY-KEY", "X-Request-ID", "x-correlation-id")
_OWN = st.one_of(
    _twins(
        "Content-Length: ",
        "1",
        "9",
        "12",
        "0",
        "007",
        "+5",
        "-1",
        "5 ",
        "5,5",
        "99999999",
        "1048576",
        "1048577",
        "\u0661",
    ),
    _twins("content-length:", " 1", " 12", "1", "\t7"),
    _twins("traceparent: ", *_PARENTS, ""),
    _twins("Traceparent: ", *_PARENTS),
    _twins("tracestate: ", "a=1", "b=2,c=3", "a=1,a=2", "=", "x" * 600),
    st.sampled_from(_NAMED_ONCE).flatmap(
        lambda name: _twins(f"{name}: ", "k1", "k2", "not a name", "\x7f", "\u00fc", "", " k")
    ),
    _twins("Idempotency-Key", ":k", " : k", ":  k", ": k\n", ": k\r", ": k\nContent-Length: 3", ""),
    _twins("Grid-Timeout-Ms: ", "1", "2"),
)
_COMMON = st.sampled_from(
    [
        *(
            "Host: localhost",
            "Host: evil.example",
            "host: 127.0.0.1",
            "Origin: http://evil.example",
            "X: y",
            "X:",
            "X: y\tz",
        ),
        *(
            "Content-Type: application/json",
            "Content-Type: text/plain",
            f"Authorization: Bearer {TOKEN}",
            "Connection: close",
        ),
        *("Transfer-Encoding: chunked", "Expect: 100-continue", "Content-Encoding: gzip", "Upgrade: websocket"),
        *(" folded", "\tfolded", "no colon", "X: \x00", "X: a\nContent-Length: 4", "X: a\r", "Authorization: Bearer x"),
    ]
).map(lambda line: (line, line))


def _head(first: str, lines: Sequence[str]) -> bytes:
    return "\r\n".join([first, *lines, "", ""]).encode()


@st.composite
def _heads(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Two heads that differ at most in lines that each request has of its own."""
    first = draw(st.sampled_from(["POST /charge", "POST /charge", "GET /report", "POST /else"]))
    version = draw(st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]))
    lines = draw(st.lists(st.one_of(_OWN, _OWN, _COMMON), max_size=5))
    if draw(st.booleans()):
        lines = draw(st.permutations([*lines, *((line, line) for line in PLAIN)]))
    return _head(f"{first} {version}", [one for one, _ in lines]), _head(
        f"{first} {version}", [two for _, two in lines]
    )


def _told(head: Head | None) -> Any:
    """All of a head, its headers in no order, their names in no case."""
    if head is None:
        return None
    lines = sorted((name.lower(), value) for name, value in head.headers.items())
    return head.method, head.path, lines, head.length, head.parent


def _some(access: Access) -> Heads:
    return Heads({"/charge"}, Gate(access), {"/report"})


KEYED = _head("POST /charge HTTP/1.1", [*PLAIN, "Idempotency-Key: k1", "Content-Length: 5"])
LOOK = _head("GET /report HTTP/1.1", ["Host: localhost", "X-Request-ID: r1"])


@pytest.mark.parametrize("access", [LOCAL, GUARDED])
@given(twins=_heads())
@example(twins=(KEYED, KEYED.replace(b"k1", b"k2")))
@example(twins=(KEYED, KEYED.replace(b"Idempotency-Key: k1", b"Content-Length: 7")))
@example(twins=(KEYED, KEYED.replace(b"Content-Length: 5", b"idempotency-key: k2")))
@example(twins=(KEYED, KEYED.replace(b"\r\nContent-Length: 5", b"")))
@example(twins=(LOOK, LOOK.replace(b"X-Request-ID: r1", b"Content-Length: 5")))
@settings(max_examples=300, deadline=None)
def test_a_head_known_by_its_like_is_the_one_that_would_be_read(access: Access, twins: tuple[bytes, bytes]) -> None:
    async def both() -> None:
        known = _some(access)
        first, _ = twins
        for raw in (*twins, *[first] * (OFTEN + 1), *twins):
            assert _told(known.find(raw)) == _told(_some(access).find(raw))

    asyncio.run(both())


def _named(number: int) -> bytes:
    own = [f"traceparent: 00-{number + 1:032x}-{number + 1:016x}-01", "tracestate: a=1", f"Idempotency-Key: k{number}"]
    return _head("POST /charge HTTP/1.1", [*PLAIN, *own, f"Content-Length: {number + 1}"])


@pytest.mark.interpreted
async def test_what_each_has_of_its_own_is_not_read_as_a_head_again() -> None:
    read: list[bytes] = []

    class Seen(Heads):
        def _learn(self, raw: bytes, *more: Any) -> Head | None:
            read.append(raw)
            return super()._learn(raw, *more)

    heads = Seen({"/charge"}, Gate(LOCAL))
    found = [heads.find(_named(number)) for number in range(50)]
    assert read == [_named(0)]
    assert [head and head.headers["Idempotency-Key"] for head in found] == [f"k{number}" for number in range(50)]
    assert [head and head.parent and int(head.parent.span_id, 16) for head in found] == list(range(1, 51))
    assert [head and head.length for head in found] == list(range(1, 51))


@pytest.mark.interpreted
async def test_what_is_met_often_is_known_by_its_layout() -> None:
    judged: list[bytes] = []

    class Seen(Heads):
        def _judge(self, raw: bytes) -> Head | None:
            judged.append(raw)
            return super()._judge(raw)

    known, fresh = Seen({"/charge"}, Gate(LOCAL)), _some(LOCAL)
    heads = [_named(number) for number in range(OFTEN + 100)]
    assert [_told(known.find(raw)) for raw in heads] == [_told(fresh.find(raw)) for raw in heads]
    assert len(judged) == OFTEN + 1
    other = [
        _head("POST /charge HTTP/1.1", [*PLAIN, f"Idempotency-Key: k{each}", "Content-Length: 5"]) for each in "ab"
    ]
    assert all(known.find(raw) is not None for raw in other)
    assert judged[OFTEN + 1 :] == other


async def test_who_sends_another_line_each_time_costs_no_more_memory() -> None:
    heads = _some(LOCAL)
    for number in range(MOST_HEADS + 10):
        assert heads.find(_named(number).replace(b"\r\n\r\n", b"\r\nX-Number: %d\r\n\r\n" % number))
    assert 0 < len(heads._alike) <= MOST_HEADS
