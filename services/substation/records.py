"""What a substation remembers of sessions that are over; must not know limits or HTTP.

This is the window in which a repeated request gets its old answer, and the record from which load over time is computed.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from services.substation.session import Session

#: The newest this many ended sessions are remembered, and as many revocations.
KEPT = 100_000


def _nothing(_: Session | str) -> None: ...


class Records:
    """The newest `kept` ended sessions, by request_id, and the newest `kept` revocations.

    `on_forget` is told what is forgotten: a session, or the request_id of a revocation.
    """

    def __init__(self, kept: int = KEPT, on_forget: Callable[[Session | str], None] = _nothing) -> None:
        self._kept = kept
        self._on_forget = on_forget
        self._ended: deque[Session] = deque()
        self._newest: dict[str, Session] = {}
        self._revoked: OrderedDict[str, int] = OrderedDict()

    def add(self, session: Session) -> None:
        """Remembers an ended session, and forgets the oldest where there are too many."""
        self._ended.append(session)
        self._newest[session.request_id] = session
        if len(self._ended) > self._kept:
            oldest = self._ended.popleft()
            if self._newest.get(oldest.request_id) is oldest:
                del self._newest[oldest.request_id]
            self._on_forget(oldest)

    def remove(self, session: Session) -> None:
        """Forgets `session` as if it had never been."""
        with suppress(ValueError):  # it was forgotten meanwhile
            self._ended.remove(session)
        if self._newest.get(session.request_id) is session:
            del self._newest[session.request_id]

    def find(self, request_id: str) -> Session | None:
        """The session of `request_id` that ended last."""
        return self._newest.get(request_id)

    def revoke(self, request_id: str, attempt: int) -> None:
        """Remembers that attempts up to `attempt` of `request_id` may not start any more."""
        self._revoked[request_id] = max(attempt, self.revoked_attempt(request_id))
        self._revoked.move_to_end(request_id)
        if len(self._revoked) > self._kept:
            self._on_forget(self._revoked.popitem(last=False)[0])

    def revoked_attempt(self, request_id: str) -> int:
        """The highest attempt of `request_id` that was revoked; 0 where none was."""
        return self._revoked.get(request_id, 0)

    def newest_first(self) -> Iterator[Session]:
        """The ended sessions, the one that ended last first."""
        return reversed(self._ended)
