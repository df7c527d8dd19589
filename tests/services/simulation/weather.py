"""What happens to messages between simulated processes."""

from __future__ import annotations

from dataclasses import dataclass


class Refused(ConnectionError):
    """No byte was sent."""


class Reset(ConnectionError):
    """It was sent, and the connection broke before the answer."""


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to messages: shares that are lost on the way there and back, sent twice; how long they travel (s).

    `cut`: nothing passes. Who would connect finds nobody; who is connected already hears nothing.
    """

    lose: float = 0.0
    lose_reply: float = 0.0
    twice: float = 0.0
    delay_s: float = 0.0
    delay_reply_s: float = 0.0
    cut: bool = False

    @property
    def bad(self) -> bool:
        return self != CALM


CALM = Weather()
#: One way of a message in calm weather (wall seconds).
NEAR_S = 0.001
