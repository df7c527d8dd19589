"""The result of a run, as one document. Must not know how it is shown, or HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gridctl.audit.verdict import Verdict
from gridctl.loadtest.asked import Asked
from gridctl.loadtest.ideal import NO_TIME, NOTHING_ASKED, Ideal
from gridctl.loadtest.loader import Loader
from gridctl.loadtest.measured import NO_RECORDS
from gridctl.loadtest.placement import Figures
from gridctl.loadtest.tally import Tally
from gridctl.loadtest.thresholds import PERCENTILE, SUBSTATION

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Result:
    """One run. `figures` is None where no complete records were to be had.

    `missing` says of which substations there are none and why, `unmeasured` names external ones, which keep none.
    `avoidable` counts refusals that were not needed, `attempts` is asked substations a request; where one is None,
    `unknown` says why, by its name. `asked` is what each EV asked and was told,
    `slowest` names those who waited longest (see `slowest.Slowest.to_json`),
    `audit` the verdict of an audit, where one was asked for; `tester` is what the load tester itself was like.
    """

    tally: Tally
    figures: Figures | None
    ideal: Ideal
    names: tuple[str, ...]
    missing: Mapping[str, str]
    unmeasured: tuple[str, ...]
    duration_s: float
    interrupted: bool
    seed: int
    avoidable: int | None = None
    attempts: float | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)
    asked: Sequence[Asked] = ()
    slowest: Sequence[Mapping[str, Any]] = ()
    audit: Verdict | None = None
    tester: Loader = field(default_factory=Loader)

    @property
    def late_ms(self) -> float:
        """How late 99 % of the orders were sent at most: the load tester's own delay."""
        return self.tally.delays.percentile_ms(99) or 0.0

    @property
    def behind_schedule(self) -> bool:
        """Whether the load tester itself was too slow for its scenario."""
        return self.tally.is_behind

    @property
    def blocked_share(self) -> float | None:
        """Refused for lack of room, of all that were accepted or refused (0…1); None without any."""
        answered = self.tally.accepted + self.tally.refused
        return self.tally.refused / answered if answered else None

    @property
    def queued(self) -> int:
        """How many of the accepted were told to wait in a queue."""
        return sum(asked.queued for asked in self.asked)

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
            "slowest": [dict(each) for each in self.slowest],
            **self._placement(),
            "seed": self.seed,
            "duration_s": _round(self.duration_s),
            "interrupted": self.interrupted,
            "behind_schedule": self.behind_schedule,
            "late_ms": {"p99": self.late_ms, "max": tally.delays.max_ms},
            "limited_by_tester": self.tester.is_limit,
            **self._tester(),
            "queued": self.queued,
            "refused_reasons": dict(tally.refused_reasons),
            "failures": dict(tally.failures),
            "peak_sessions": dict(self.figures.peak_sessions) if self.figures else None,
            "records_missing": dict(self.missing),
            "unmeasured": list(self.unmeasured),
            "unknown": self._unknown(),
            **({} if self.audit is None else {"audit": self.audit.to_json()}),
        }

    def _tester(self) -> dict[str, Any]:
        tester = self.tester
        return {
            "late_share": _round(tester.late_share),
            "workers": tester.workers,
            "tester_cpu_share": _round(tester.cpu_share),
            "tester_cpu_us": None if tester.cpu_us is None else round(tester.cpu_us, 1),
            "waited_for_connection": tester.waited,
        }

    def _placement(self) -> dict[str, Any]:
        figures = self.figures
        return {
            "overloads": figures.overloads if figures else None,
            "peak_load_pct": _round(figures.peak_load_pct) if figures else None,
            "blocked_share": _round(self.blocked_share),
            "erlang_b": _round(self.ideal.erlang_b),
            "avoidable_rejections": self.avoidable,
            "excess": _round(figures.excess) if figures else None,
            "spread": _round(figures.spread) if figures else None,
            "spread_jsq": _round(self.ideal.spread_jsq),
            "blocked_pooled": _round(self.ideal.blocked_pooled),
            "attempts_per_request": _round(self.attempts),
        }

    def _unknown(self) -> dict[str, str]:
        """Why a figure is null, by its key; of those that are null only."""
        why = {**self.ideal.unknown, **self.unknown}
        if self.blocked_share is None:
            why["blocked_share"] = NOTHING_ASKED
        if self.figures is None:
            why.update(dict.fromkeys(("overloads", "peak_load_pct", "excess", "spread"), self._no_figures()))
        elif self.figures.excess is None:
            why["excess"] = "nothing charged"
        if self.figures is not None and self.figures.spread is None:
            why["spread"] = NO_TIME
        null = {key for key, value in self._placement().items() if value is None}
        return {key: reason for key, reason in sorted(why.items()) if key in null}

    def _no_figures(self) -> str:
        named = "; ".join(f"{name}: {reason}" for name, reason in sorted(self.missing.items()))
        return named or NO_RECORDS

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
