"""What balancers of one grid tell each other: who lives, what was placed, what substations reported.

Must not know HTTP, or what a balancer makes of it. All `*_s` are wall seconds.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from config.names import NAME_PATTERN
from config.problems import FieldFault, Problem, bad_fields, not_json

#: How one balancer stands to the others: it collects what runs, it places its share, it is about to end.
State = Literal["joining", "ready", "leaving"]

_Count = Annotated[int, Field(ge=0, le=2**62)]
#: Substations take one below 2**62.
_Incarnation = Annotated[int, Field(ge=0, lt=2**62)]
_RequestId = Annotated[str, Field(pattern=NAME_PATTERN)]
_Url = Annotated[str, Field(pattern=r"^http://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?$")]


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class Placed(_Message):
    """A request that got a session, by `attempt`, which ends `ends_in_s` from now; `epoch` is its substation's."""

    request_id: _RequestId
    ev_id: Annotated[str, Field(min_length=1, max_length=128)]
    substation: Annotated[str, Field(max_length=64)]
    attempt: Annotated[int, Field(ge=1, le=10**9)]
    ends_in_s: Annotated[float, Field(ge=-1e17, le=1e17)]
    epoch: int | None = None


class Note(_Message):
    """What the balancer that listens at `sender` tells another one; `number` counts its notes to it.

    `incarnation` names its present membership, `term` ranks its attempts, `fenced` is the newest incarnation of the reader
    that it counts as dead. It `holds` so many requests of the reader's share that it took in before; one that is joining
    lists the request_ids of its `queue`. `reports` are pairs of a substation's name and its report.
    """

    sender: _Url
    number: _Count
    incarnation: _Incarnation
    state: State
    term: _Count = 0
    fenced: _Incarnation = 0
    holds: _Count = 0
    queue: list[_RequestId] = Field(default_factory=list, max_length=100_000)
    reports: list[list[str]] = Field(default_factory=list, max_length=100_000)
    placed: list[Placed] = Field(default_factory=list, max_length=100_000)


class NoteReply(_Message):
    """The answer to a note. `fenced` counts the sender as dead up to that incarnation: the note was not taken.

    To one that is joining: `known` are the requests of its queue that are placed or wait here, `number` is the last note
    that was written to it before.
    """

    incarnation: _Incarnation
    state: State
    term: _Count = 0
    fenced: _Incarnation = 0
    holds: _Count = 0
    number: _Count = 0
    known: list[_RequestId] = Field(default_factory=list)


def read_note(body: bytes) -> Note | Problem:
    """The note in `body`; a Problem (400, 422) where it is none."""
    try:
        return Note.model_validate_json(body)
    except ValidationError as invalid:
        details = invalid.errors(include_url=False, include_input=False)[:20]
    if details[0]["type"] == "json_invalid":
        return not_json("the body is not JSON")
    return bad_fields(tuple(FieldFault(".".join(map(str, d["loc"]))[:80], d["msg"]) for d in details))
