"""What may become of one attempt to place a request at a substation. Must not know how that is found out."""

from __future__ import annotations

import enum


class Result(enum.Enum):
    """What became of one attempt; the values are the `result` labels of `balancer_attempts_total`."""

    word: str

    def __init__(self, word: str) -> None:
        self.word = word  # to ask for the value calls a function

    __hash__ = object.__hash__  # there is one of each

    ACCEPTED = "accepted"
    #: It has no room now.
    FULL = "full"
    #: It answered that it takes nothing now (draining, starting), or something that nobody can use.
    CLOSED = "closed"
    #: It will never have room for this.
    NEVER = "never"
    #: Its id belongs to another EV.
    TAKEN = "taken"
    #: This attempt was revoked before.
    REVOKED = "revoked"
    #: This balancer counts as dead there, or is not the one any more that began the request.
    FENCED = "fenced"
    #: No byte of the request was sent.
    UNREACHABLE = "unreachable"
    #: It was sent and not answered, or by one that failed over it: nobody knows.
    UNKNOWN = "unknown"
