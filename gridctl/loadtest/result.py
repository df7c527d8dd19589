"""The result of a run, as one document. Must not know how it is shown, or HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gridctl.loadtest.placement import Figures
from gridctl.loadtest.tally import Tally
from gridctl.loadtest.thresholds import PERCENTILE, SUBSTATION

#: The load tester is behind its schedule when one order in a hundred goes out later than this (ms).
LATE_LIMIT_MS = 20.0
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Result:
    """One run. `figures` and `erlang_b` are None where no complete records were to be had.

    `missing` says of which substations there are none and why, `unmeasured` names external ones, which keep none.
    """

    tally: Tally
    figures: Figures | None
    erlang_b: float | None
    names: tuple[str, ...]
    missing: Mapping[str, str]
    unmeasured: tuple[str, ...]
    duration_s: float
    interrupted: bool
    seed: int

    @property
    def late_ms(self) -> float:
        """How late 99 % of the orders were sent at most: the load tester's own delay."""
        return self.tally.delays.percentile_ms(99) or 0.0

    @property
    def behind_schedule(self) -> bool:
        """Whether the load tester itself was too slow for its scenario."""
        return self.late_ms > LATE_LIMIT_MS

    @property
    def blocked_share(self) -> float | None:
        """Refused for lack of room, of all that were accepted or refused (0…1); None without any."""
        answered = self.tally.accepted + self.tally.refused
        return self.tally.refused / answered if answered else None

    def per_substation(self) -> dict[str, dict[str, float]]:
        """name → `accepted` and `share` (0…1 of all accepted), for every substation, also one that got none."""
        counts = self.tally.per_substation
        names = [*self.names, *sorted(name for name in counts if name and name not in self.names)]
        total = self.tally.accepted
        shares = {name: counts[name] / total if total else 0.0 for name in names}
        return {name: {"accepted": counts[name], "share": round(share, _DIGITS)} for name, share in shares.items()}

    def to_json(self) -> dict[str, Any]:
        """The document of `gridctl loadtest --json`; null is what could not be measured."""
        tally = self.tally
        percentiles = {f"p{percent}": tally.latencies.percentile_ms(percent) for percent in (50, 90, 99)}
        return {
            "sent": tally.sent,
            "accepted": tally.accepted,
            "refused": tally.refused,
            "failed": tally.failed,
            "per_substation": self.per_substation(),
            "latency_ms": {**percentiles, "max": tally.latencies.max_ms},
            **self._placement(),
            "seed": self.seed,
            "duration_s": _round(self.duration_s),
            "interrupted": self.interrupted,
            "behind_schedule": self.behind_schedule,
            "late_ms": {"p99": self.late_ms, "max": tally.delays.max_ms},
            "refused_reasons": dict(tally.refused_reasons),
            "failures": dict(tally.failures),
            "peak_sessions": dict(self.figures.peak_sessions) if self.figures else None,
            "records_missing": dict(self.missing),
            "unmeasured": list(self.unmeasured),
        }

    def _placement(self) -> dict[str, Any]:
        figures = self.figures
        return {
            "overloads": figures.overloads if figures else None,
            "peak_load_pct": _round(figures.peak_load_pct) if figures else None,
            "blocked_share": _round(self.blocked_share),
            "erlang_b": _round(self.erlang_b),
            "excess": _round(figures.excess) if figures else None,
            "spread": _round(figures.spread) if figures else None,
        }

    def value(self, key: str) -> float | None:
        """The figure that a condition names by `key` (see `thresholds`); None where it could not be measured."""
        if match := SUBSTATION.fullmatch(key):
            return self.per_substation().get(match[1], {}).get(match[2])
        if match := PERCENTILE.fullmatch(key):
            return self.tally.latencies.percentile_ms(float(match[1]))
        if key.startswith("latency_ms."):
            key = key.removeprefix("latency_ms.") + "_ms"
            return self.tally.latencies.max_ms if key == "max_ms" else self.value(key)
        if key == "max_ms":
            return self.tally.latencies.max_ms
        if key == "late_ms":
            return self.late_ms
        found = self.to_json().get(key)
        return found if isinstance(found, int | float) else None


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
