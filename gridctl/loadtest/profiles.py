"""How a day of real plug-ins looks: arrivals per hour, energies, connected times, powers. Must not know files or clocks.

Facts derived from public data: the residential ones from Sørensen et al. 2024 (Zenodo 13896176, CC BY 4.0; Norwegian
apartment buildings, Nov 2019 to Jan 2020), the others from ElaadNL's published distributions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from gridctl.loadtest.pacing import Pace, Stage

HOUR_S = 3600.0

#: The shares of sessions below which the seven values of a quantile row lie.
QUANTILES = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95)

#: Usual charger powers where people live, work and shop (kW); 50 and 150 are DC.
_HOME_KW = (3.7, 7.4, 11.0)
_WORK_KW = (3.7, 7.4, 11.0, 22.0)
_PUBLIC_KW = (11.0, 22.0, 50.0, 150.0)


@dataclass(frozen=True, slots=True)
class Profile:
    """A day: `hourly_pct` of the day's plug-ins for each of 24 hours, and quantile rows of what a session is.

    `first_hour` and `hours` are the part that is played when the user names none.
    """

    hourly_pct: tuple[float, ...]
    energy_kwh: tuple[float, ...]
    connected_h: tuple[float, ...]
    powers_kw: tuple[float, ...]
    first_hour: int = 0
    hours: int = 24

    def pace(self, mean_rate: float, from_s: float | None = None, until_s: float | None = None) -> Pace:
        """Arrivals between two seconds of the day, `mean_rate` being EVs per second averaged over the whole day.

        A window that ends before it begins goes over midnight.
        """
        start = self.first_hour * HOUR_S if from_s is None else from_s
        end = (self.first_hour + self.hours) * HOUR_S if until_s is None else until_s
        length = (end - start) % (24 * HOUR_S) or 24 * HOUR_S
        stages = []
        at = start
        while (left := start + length - at) > 0:
            step = min(HOUR_S - at % HOUR_S, left)
            rate = mean_rate * 24 * self.share(int(at // HOUR_S) % 24)
            stages.append(Stage(rate, rate, step))
            at += step
        return Pace(tuple(stages))

    def share(self, hour: int) -> float:
        """The share (0…1) of the day's plug-ins that come in `hour`; the table's rounding is taken out."""
        return self.hourly_pct[hour] / sum(self.hourly_pct)

    def sample(self, rng: Random) -> dict[str, float]:
        """What one EV asks for: `energy_kwh`, `departure_in_s` (grid seconds) and `power_kw`, independent of each other."""
        return {
            "energy_kwh": round(quantile(self.energy_kwh, rng.random()), 3),
            "departure_in_s": round(quantile(self.connected_h, rng.random()) * HOUR_S, 1),
            "power_kw": rng.choice(self.powers_kw),
        }


def quantile(row: Sequence[float], share: float) -> float:
    """The value below which `share` (0…1) of the sessions lie: linear between the row's quantiles.

    Flat beyond the first and the last one: no value is invented that the source does not have.
    """
    if share <= QUANTILES[0]:
        return row[0]
    for i in range(1, len(QUANTILES)):
        if share <= QUANTILES[i]:
            part = (share - QUANTILES[i - 1]) / (QUANTILES[i] - QUANTILES[i - 1])
            return row[i - 1] + part * (row[i] - row[i - 1])
    return row[-1]


def _row(text: str) -> tuple[float, ...]:
    return tuple(float(value) for value in text.split())


_RESIDENTIAL_WEEKDAY = _row("1.6 .9 .6 .8 .9 .3 .4 .8 1.5 1.6 1.9 2.5 3 3.6 6 9.7 12.4 8.9 7.7 8.4 8.9 7.7 6.3 3.6")
_RESIDENTIAL_WEEKEND = _row("3.1 1.7 1.1 1.2 1.2 .5 .4 .7 1.2 1.3 2.4 3.7 5 5.9 6.8 8.4 8.3 8.3 8.6 8.3 7 5.8 5.7 3.2")
_RESIDENTIAL_KWH = _row("1.7 2.7 5.2 9.0 16.4 26.8 36.3")
_RESIDENTIAL_H = _row("0.8 1.4 3.5 11.2 15.9 22.1 37.6")

#: The built-in profiles. `rush-hour` is the residential weekday from 15:00 to 21:00, when 56 % of its EVs come.
PROFILES: dict[str, Profile] = {
    "residential-weekday": Profile(_RESIDENTIAL_WEEKDAY, _RESIDENTIAL_KWH, _RESIDENTIAL_H, _HOME_KW),
    "residential-weekend": Profile(_RESIDENTIAL_WEEKEND, _RESIDENTIAL_KWH, _RESIDENTIAL_H, _HOME_KW),
    "home": Profile(
        _row("2.1 .5 .2 .1 .1 .1 .2 .6 1.4 1.1 1.1 1.5 2.2 2.2 2.7 3.7 5.7 12.1 17 11.5 9.1 8.9 9.1 6.6"),
        _row("1.8 3.3 8.2 19.4 35.8 51.4 59.6"),
        _row("1.0 1.5 4.2 11.0 14.6 20.3 29.3"),
        _HOME_KW,
    ),
    "public": Profile(
        _row("1 .5 .2 .2 .2 .2 .7 3.2 7.9 7.7 5.1 4.7 5.3 5.3 5 5.1 5.7 8.3 10.9 8.1 5.1 4 3.4 2.3"),
        _row("0.6 1.6 4.2 7.2 13.8 29.0 41.6"),
        _row("0.3 0.6 1.7 4.4 12.1 17.1 21.7"),
        _PUBLIC_KW,
    ),
    "workplace": Profile(
        _row("0 0 0 0 .1 1.4 4.3 14.3 26.7 18.1 7.7 4.9 5.4 5.3 4 3 2 1 .6 .5 .3 .1 .1 0"),
        _row("1.4 2.7 5.4 8.8 16.7 26.1 31.9"),
        _row("0.6 1.2 2.5 4.9 8.5 9.8 13.2"),
        _WORK_KW,
    ),
    "rush-hour": Profile(_RESIDENTIAL_WEEKDAY, _RESIDENTIAL_KWH, _RESIDENTIAL_H, _HOME_KW, first_hour=15, hours=6),
}
