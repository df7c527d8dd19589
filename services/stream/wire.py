r"""What stands in the messages of a stream. Pure: must not know connections, nor what is asked.

A message holds up to `MOST_MEMBERS` members, each as two lines: a short one for this hop, and a body that nobody here
reads. It is JSON, in which a line end means nothing outside of strings and cannot stand inside of them.

    calls      <number> <milliseconds left> <traceparent or -> <tracestate>\n<body>\n …
    answers    <head>\n and then <number> <status> <Retry-After or ->\n<body>\n …

An answer's number is its call's. `head` is what an answer over HTTP would say in a header about whoever answers. Answers
come in any order, each as soon as it is ready. `BYE` says that no call is to be sent on this connection any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Where a service takes a stream, by a WebSocket's handshake.
PATH = "/stream"
#: What waits goes together up to this many members and bytes of bodies; one that is longer goes alone.
MOST_MEMBERS: Final = 256
MOST_BYTES: Final = 1 << 18
#: No message is longer: a body over HTTP may have 1 MiB.
MOST_MESSAGE_BYTES = 1 << 21
#: Whoever answers stops: what was asked is still answered.
BYE: Final = b"bye"
#: The status of a member whose answer is lost: nobody can know what became of it.
LOST: Final = 0

_NONE: Final = "-"
#: Python looks for one byte at once, and for a string of one only after it tried whether that is a number.
_LINE_END: Final = 10


class Call:
    """One member that is asked; the answer is worth nothing after `left_ms`. `traceparent` and `tracestate` may be ""."""

    __slots__ = ("body", "left_ms", "number", "traceparent", "tracestate")

    def __init__(self, number: int, left_ms: int, body: bytes, traceparent: str = "", tracestate: str = "") -> None:
        self.number = number
        self.left_ms = left_ms
        self.body = body
        self.traceparent = traceparent
        self.tracestate = tracestate


class Said:
    """The answer to the member `number`: what over HTTP are the status, the header `Retry-After` ("": none), the body.

    `head` is that of the message in which it came.
    """

    __slots__ = ("body", "head", "number", "retry_after", "status")

    def __init__(self, number: int, status: int, body: bytes, retry_after: str = "", head: str = "") -> None:
        self.number = number
        self.status = status
        self.body = body
        self.retry_after = retry_after
        self.head = head


def put_call(call: Call) -> bytes:
    """The lines of one call."""
    return a_call(call.number, call.left_ms, call.body, call.traceparent, call.tracestate)


def a_call(number: int, left_ms: int, body: bytes, traceparent: str = "", tracestate: str = "") -> bytes:
    """`put_call` of what a `Call` has."""
    return f"{number} {left_ms} {traceparent or _NONE} {tracestate}\n".encode() + _one_line(body)


def put_answer(said: Said) -> bytes:
    """The lines of one answer."""
    return an_answer(said.number, said.status, said.body, said.retry_after)


def an_answer(number: int, status: int, body: bytes, retry_after: str = "") -> bytes:
    """`put_answer` of what a `Said` has."""
    if _LINE_END in body:
        body = body.replace(b"\n", b" ")
    return b"%d %d %b\n%b\n" % (number, status, retry_after.encode() or b"-", body)


def put_answers(head: str, lines: Iterable[bytes]) -> bytes:
    """A message of answers, each as `put_answer` gave it."""
    return b"".join((head.encode(), b"\n", *lines))


def calls_of(message: bytes) -> list[Call]:
    """What is asked in `message`; ValueError where it is none."""
    lines = _lines(message)
    found = []
    for at in range(0, len(lines), 2):
        number, left_ms, traceparent, tracestate = lines[at].decode("ascii").split(" ", 3)
        parent = "" if traceparent == _NONE else traceparent
        found.append(Call(int(number), int(left_ms), lines[at + 1], parent, tracestate))
    return found


def answers_of(message: bytes) -> list[Said]:
    """The answers in `message`; ValueError where it is none."""
    head, found, rest = message.partition(b"\n")
    if not found:
        raise ValueError("a message of answers begins with a line of its own")
    lines, shared = _lines(rest), head.decode("ascii")
    answers = []
    for at in range(0, len(lines), 2):
        number, status, retry_after = lines[at].decode("ascii").split(" ")
        again = "" if retry_after == _NONE else retry_after
        answers.append(Said(int(number), int(status), lines[at + 1], again, shared))
    return answers


def _lines(message: bytes) -> list[bytes]:
    if message.count(b"\n") > 2 * MOST_MEMBERS:
        raise ValueError(f"a message has at most {MOST_MEMBERS} members")
    lines = message.split(b"\n")
    if lines.pop() or len(lines) % 2:
        raise ValueError("a member has two lines")
    return lines


def _one_line(body: bytes) -> bytes:
    return (body.replace(b"\n", b" ") if _LINE_END in body else body) + b"\n"
