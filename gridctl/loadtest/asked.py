"""What each EV asked for and was told, kept until the run is judged. Must not know the network, or how it is judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gridctl.loadtest.arrivals import Order
from gridctl.loadtest.client import Kind, Outcome

WATT_SECONDS_PER_KWH = 3_600_000.0


class Asked(NamedTuple):
    """One request and its outcome at `answered_s` (Unix seconds).

    `power_w` (watts) and `length_s` (grid seconds) are what its body asks for, None where it leaves them to the grid.
    `arrived_s` and `refused_s` (Unix) are the balancer's own times of a refusal, None where it told none. `queued`: it was
    accepted into a queue.
    """

    request_id: str
    kind: Kind
    answered_s: float
    substation: str | None = None
    reason: str = ""
    power_w: int | None = None
    length_s: float | None = None
    arrived_s: float | None = None
    refused_s: float | None = None
    queued: bool = False


class Roll:
    """Takes down every outcome of a run; `unix_s` is Unix time."""

    def __init__(self, unix_s: Callable[[], float] = time.time) -> None:
        self._unix_s = unix_s
        self.asked: list[Asked] = []

    def take(self) -> list[Asked]:
        """What was taken down since the last time."""
        taken, self.asked = self.asked, []
        return taken

    def note(self, order: Order, outcome: Outcome) -> None:
        """One order has its outcome, now."""
        told: Mapping[str, Any] = outcome.answer if isinstance(outcome.answer, dict) else {}
        power_kw = order.body.get("power_kw")
        power_w = None if power_kw is None else round(power_kw * 1000)
        self.asked.append(
            Asked(
                order.request_id,
                outcome.kind,
                self._unix_s(),
                outcome.substation,
                outcome.reason,
                power_w,
                _length_s(order.body, power_w),
                _instant(told.get("arrived_s")),
                _instant(told.get("refused_s")),
                _is_queued(told.get("response")),
            )
        )


def _length_s(body: Mapping[str, Any], power_w: int | None) -> float | None:
    """Grid seconds until the earliest of what `body` asks for; None where it asks for none, or power is not known."""
    lengths = [body[key] for key in ("duration_s", "departure_in_s") if body.get(key) is not None]
    if body.get("energy_kwh") is not None:
        if power_w is None:
            return None
        lengths.append(body["energy_kwh"] * WATT_SECONDS_PER_KWH / max(1, power_w))
    return min(lengths, default=None)


def _is_queued(response: object) -> bool:
    return isinstance(response, dict) and response.get("status") == "queued"


def _instant(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
