"""One charging session; must not know limits, clocks or HTTP."""

from __future__ import annotations

from typing import Literal

from config.messages import ChargeRequest

#: `ended` as planned; before its end `revoked` (an attempt too many), `cancelled` (by its EV), or `dropped`.
State = Literal["charging", "ended", "revoked", "cancelled", "dropped"]

WATT_SECONDS_PER_KWH = 3_600_000.0


class Session:
    """A session of `power_w` watts from `started_s` to (as planned) `ends_s`; `*_s` are grid seconds of its substation.

    `ended_s` is when it really ended, and `reason` why where that was not its plan. `number` counts the starts of its
    substation. The Unix times are set for what happened in an earlier run; those of this run follow from the clock.
    Of its journal: `noted` is the attempt that was handed to it, `kept` the one that survives by now (0: none yet).
    """

    __slots__ = (
        "attempt",
        "ended_s",
        "ended_unix_s",
        "ends_s",
        "ev_id",
        "kept",
        "noted",
        "number",
        "power_w",
        "reason",
        "request_id",
        "started_s",
        "started_unix_s",
        "state",
    )

    def __init__(
        self,
        request_id: str,
        ev_id: str,
        attempt: int,
        power_w: int,
        started_s: float,
        ends_s: float,
        number: int = 0,
        state: State = "charging",
    ) -> None:
        self.request_id = request_id
        self.ev_id = ev_id
        self.attempt = attempt
        self.power_w = power_w
        self.started_s = started_s
        self.ends_s = ends_s
        self.ended_s: float | None = None
        self.state: State = state
        self.reason = ""
        self.number = number
        self.started_unix_s: float | None = None
        self.ended_unix_s: float | None = None
        self.noted = self.kept = 0

    @property
    def is_kept(self) -> bool:
        """Whether it survives as it is: as of its newest attempt."""
        return self.kept >= self.attempt

    @property
    def energy_kwh(self) -> float:
        """What it was delivered, once it ended; 0 before."""
        return 0.0 if self.ended_s is None else self.delivered_kwh(self.ended_s)

    def delivered_kwh(self, now_s: float) -> float:
        """What it was delivered until `now_s`."""
        until_s = now_s if self.ended_s is None else self.ended_s
        return self.power_w * max(0.0, until_s - self.started_s) / WATT_SECONDS_PER_KWH


def watts(power_kw: float) -> int:
    """`power_kw` as whole watts, rounded: integers add up exactly, so 74 kW take ten of 7.4 kW."""
    return round(power_kw * 1000)


def length_s(charge: ChargeRequest, power_w: int, session_s: float) -> float:
    """Grid seconds that `charge` will last at `power_w`: the earliest of energy, duration, departure, else `session_s`."""
    if charge.energy_kwh is None and charge.duration_s is None and charge.departure_in_s is None:
        return session_s
    energy_s = None if charge.energy_kwh is None else charge.energy_kwh * WATT_SECONDS_PER_KWH / power_w
    limits = [limit for limit in (energy_s, charge.duration_s, charge.departure_in_s) if limit is not None]
    return min(limits, default=session_s)
