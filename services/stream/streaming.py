"""What a service is that answers streams. Must not know how a stream is carried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from services.stream.member import Member


@runtime_checkable
class Streaming(Protocol):
    """A service that answers streams."""

    #: What a member would ask over HTTP by POST.
    streamed: str

    def take(self, members: Sequence[Member], headers: Mapping[str, str]) -> None:
        """Begins to answer `members`, which came on a connection whose handshake had `headers`; must not block.

        Each is answered once, whatever happens. ProblemError, before any is: this connection is not listened to any more.
        """

    def headers(self) -> Mapping[str, str]:
        """See `services.service.Service`: the report, if any, goes with every message of answers."""
