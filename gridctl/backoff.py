"""How long to wait before a crashed service is started again; must not know which service."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with equal jitter and a cap, in wall seconds.

    Jitter keeps a hundred services that died together from coming back together (Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015).
    """

    first_s: float = 0.1
    factor: float = 2.0
    cap_s: float = 10.0

    def delay_s(self, crashes: int, random: Random) -> float:
        """The wait after the `crashes`-th crash in a row (from 1): half to all of min(cap, first · factor^(n-1))."""
        exponent = min(max(crashes, 1) - 1, 64)
        whole = min(self.cap_s, self.first_s * self.factor**exponent)
        return whole * (0.5 + 0.5 * random.random())
