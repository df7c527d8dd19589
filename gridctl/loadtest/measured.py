"""What a run's records say, as one value; must not know how they were had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gridctl.loadtest.ideal import Ideal, nothing
from gridctl.loadtest.placement import Figures

#: Why there are no figures of load.
NO_RECORDS = "no substation that keeps records is known"
NO_BALANCER = "no balancer is known"


@dataclass(frozen=True, slots=True)
class Measured:
    """What the cluster's own records say of a run; `figures` is None where no complete ones were to be had.

    `names` are all substations; `missing` says of which there are no records and why, `unmeasured` names external ones,
    which keep none. `avoidable` counts refusals that were not needed, `attempts` is asked substations a request; where one
    is None, `unknown` says why, by its name.
    """

    figures: Figures | None
    ideal: Ideal
    names: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    unmeasured: tuple[str, ...] = ()
    avoidable: int | None = None
    attempts: float | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def without_records(cls, missing: Mapping[str, str]) -> Measured:
        """Nothing could be measured: those of `missing` keep records that cannot be had."""
        why = "; ".join(f"{name}: {reason}" for name, reason in sorted(missing.items())) or NO_RECORDS
        unknown = {"avoidable_rejections": why, "attempts_per_request": NO_BALANCER}
        return cls(None, nothing(why), missing=missing, unknown=unknown)
