"""Planned ends in order, however many: none of them is moved when another comes or goes. Must not know limits or time.

A plain sorted list moves half of itself at each change, which at a million is most of what a request costs. Here it is cut
into pieces, as in Grant Jenks' sortedcontainers (which is one more package for these few lines).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from itertools import chain

from services.substation.session import Session

#: Of a session: when it is planned to end (grid seconds), its number (no two have the same), its watts, and itself.
End = tuple[float, int, int, Session]
#: A piece that grew to twice this is cut in two.
PIECE = 1024


def end(session: Session) -> End:
    """The planned end of `session`."""
    return session.ends_s, session.number, session.power_w, session


class Ends:
    """The planned ends of what runs, ascending."""

    def __init__(self, piece: int = PIECE) -> None:
        self._piece = piece
        self._pieces: list[list[End]] = []
        self._lasts: list[End] = []  # the last end of each piece

    def __iter__(self) -> Iterator[End]:
        return chain.from_iterable(self._pieces)

    def first_s(self) -> float | None:
        """The earliest end; None where there is none."""
        return self._pieces[0][0][0] if self._pieces else None

    def load(self, sessions: Iterable[Session]) -> None:
        """Holds these besides, all at once."""
        ends = sorted(chain(self, map(end, sessions)))
        self._pieces = [ends[at : at + self._piece] for at in range(0, len(ends), self._piece)]
        self._lasts = [piece[-1] for piece in self._pieces]

    def add(self, session: Session) -> None:
        """Holds `session` besides."""
        added = end(session)
        at = bisect_left(self._lasts, added)
        if at < len(self._lasts):
            insort(self._pieces[at], added)
        elif self._pieces:
            at -= 1
            self._pieces[at].append(added)
            self._lasts[at] = added
        else:
            self._pieces, self._lasts = [[added]], [added]
        if len(self._pieces[at]) >= 2 * self._piece:
            self._cut(at)

    def _cut(self, at: int) -> None:
        piece = self._pieces[at]
        self._pieces[at : at + 1] = piece[: self._piece], piece[self._piece :]
        self._lasts.insert(at, piece[self._piece - 1])

    def remove(self, session: Session) -> None:
        """Holds `session` no more; it must be held."""
        removed = end(session)
        at = bisect_left(self._lasts, removed)
        piece = self._pieces[at]
        del piece[bisect_left(piece, removed)]
        if piece:
            self._lasts[at] = piece[-1]
        else:
            del self._pieces[at], self._lasts[at]

    def pop_due(self, now_s: float) -> list[Session]:
        """Those planned to end by `now_s`, in order, which are held no more."""
        due: list[Session] = []
        while self._pieces and self._pieces[0][0][0] <= now_s:
            piece = self._pieces[0]
            count = bisect_left(piece, (now_s, float("inf")))
            due += [session for _, _, _, session in piece[:count]]
            del piece[:count]
            if not piece:
                del self._pieces[0], self._lasts[0]
        return due

    def clear(self) -> None:
        """Holds nothing."""
        self._pieces, self._lasts = [], []
