"""What is done once a session is over: it is counted, written down, and told where nobody could foresee it.

Must not know why it is over, nor who is told.
"""

from __future__ import annotations

from monitoring.metrics import SubstationMetrics
from services.substation.keeping import Keeper
from services.substation.pushes import Pushes
from services.substation.session import Session


class Endings:
    """The ends of one substation's sessions."""

    def __init__(self, metrics: SubstationMetrics, keeper: Keeper, pushes: Pushes) -> None:
        self._charging_time_s = metrics.charging_time_s
        self._energy_kwh = metrics.energy_kwh
        self._keeper = keeper
        self._pushes = pushes

    def over(self, session: Session) -> None:
        """`session` is over, a moment ago."""
        self._charging_time_s.observe((session.ended_s or session.started_s) - session.started_s)
        self._energy_kwh.inc(session.energy_kwh)
        self._keeper.ended(session)
        if session.state != "ended":
            self._pushes.soon()
