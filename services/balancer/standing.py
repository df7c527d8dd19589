"""How one substation behaved: who is asked first, last, or by one request at a time. Pure: time is passed in.

The ideas are Envoy's outlier detection (ejection that grows with each failure, is capped in time and in the share of hosts)
and TCP's slow start (a returning one is trusted with twice as much after each success). Nobody is ever left out: substations
admit for themselves, so asking a doubtful one costs an attempt and never an overload.
"""

from __future__ import annotations

import math

from services.routing.node import FRESH, STALE, SUSPECT

#: A substation that missed this many polls in a row is stale: asked last, never left out.
STALE_AFTER_POLLS = 2
#: How long a substation that failed is ejected (wall seconds): doubled each time, up to the cap, until it accepts a session.
EJECTION_S = 1.0
EJECTION_CAP_S = 30.0
#: Of a fleet no more than this share, and one, is ejected at a time (Envoy: `max_ejection_percent`); others only rank later.
MOST_EJECTED_SHARE = 1 / 3
#: After so many failures without a session that it accepted, nobody should wait for it.
DOUBTFUL_STRIKES = 3
#: One that returns is preferred for one session at a time, then two, four …; from so many on as if it had never failed.
WARM = 64


class Standing:
    """One substation's standing: polls missed, failures, and how far it has returned. All seconds are wall seconds."""

    def __init__(self) -> None:
        self.missed_polls = 0
        self.heard = False
        self._strikes = 0
        self._failed_at_s = -math.inf
        self._until_s = 0.0
        self._ejected = False
        self._allowance = WARM

    @property
    def ejected(self) -> bool:
        """Whether it failed lately, and not too many others did."""
        return self._ejected

    @property
    def due_s(self) -> float:
        """When `advance` has something to do; infinite if never."""
        return self._until_s or math.inf

    @property
    def silent(self) -> bool:
        """Whether it was never heard, or not for some polls."""
        return not self.heard or self.missed_polls >= STALE_AFTER_POLLS

    @property
    def doubtful(self) -> bool:
        """Whether nobody should wait for it: it is silent, or failed time and again."""
        return self.silent or self._strikes >= DOUBTFUL_STRIKES

    @property
    def alone(self) -> bool:
        """Whether one request at a time may ask it, for all that would: it is ejected or silent."""
        return self._ejected or self.silent

    def rank(self, asked: int, slow: bool) -> int:
        """Its rank while `asked` requests wait for its answer, one of them for long where `slow`."""
        if self._ejected:
            return SUSPECT
        silent = not self.heard or self.missed_polls >= STALE_AFTER_POLLS
        if slow or silent or self._until_s or (self._allowance < WARM and asked >= self._allowance):
            return STALE
        return FRESH

    def advance(self, now_s: float) -> bool:
        """Ends an ejection whose time is over; whether one ended."""
        if not self._until_s or now_s < self._until_s:
            return False
        self._return()
        return True

    def answer(self) -> None:
        """It answered something: a silent one is back."""
        if self.heard and self.silent:
            self._allowance = 1
        self.heard = True
        self.missed_polls = 0

    def miss_poll(self) -> None:
        """A poll was not answered, or with nothing usable."""
        self.missed_polls += 1

    def fail(self, asked_at_s: float, now_s: float, may_eject: bool) -> None:
        """It did not answer, or contradicted itself; unless it `may_eject` it only ranks later for that time.

        Many that were `asked_at_s` before the last such failure are one failure.
        """
        if asked_at_s < self._failed_at_s:
            return
        self._failed_at_s = now_s
        self._until_s = now_s + min(EJECTION_CAP_S, EJECTION_S * 2 ** min(self._strikes, 10))
        self._strikes += 1
        self._ejected = self._ejected or may_eject

    def succeed(self) -> None:
        """It accepted a session: former failures count no more, and it may be given twice as much at a time."""
        if self._until_s:
            self._return()
        self._strikes = 0
        if self._allowance < WARM:
            self._allowance = min(WARM, 2 * self._allowance)

    def restart(self) -> None:
        """It is a new process: what the old one did counts no more, and it is welcomed gradually."""
        self._strikes = 0
        self._return()

    def _return(self) -> None:
        self._until_s = 0.0
        self._ejected = False
        self._allowance = 1
